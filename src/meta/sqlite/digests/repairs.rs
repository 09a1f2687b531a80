//! What mends digests: blobs that share one, have none, or are not found by it.

use rusqlite::params;

use crate::error::Result;
use crate::meta::BlobId;
use crate::meta::sqlite::invariants::FOUND;
use crate::meta::sqlite::read::DigestColumn;
use crate::meta::sqlite::write::WriteTxn;
use crate::model::Digest;

impl WriteTxn<'_> {
    /// Gives every blob a digest of its own, by which it is found.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn mend_digests(&self) -> Result<Vec<String>> {
        let mut told = self.mend_wrong_digests()?;
        told.extend(self.mend_same_digests()?);
        if !told.is_empty() || !self.sentences(FOUND.1)?.is_empty() {
            told.push("the table by which bodies are found is made anew".into());
            self.rebuild_digests()?;
        } else if self.has_stale_heads()? {
            // What a crash has left, and nothing to tell of.
            self.rebuild_digests()?;
        }
        Ok(told)
    }

    fn has_stale_heads(&self) -> Result<bool> {
        let stale = "SELECT 1 FROM blob_head h WHERE NOT EXISTS
                     (SELECT 1 FROM blob b WHERE b.id = h.blob AND SUBSTR(b.digest, 1, 8) = h.head) LIMIT 1";
        Ok(self.one(stale, [], |_| Ok(()))?.is_some())
    }

    /// Gives blobs whose digest is none the digest of their bytes. One whose bytes are not in the database is removed:
    /// nothing leads to them.
    fn mend_wrong_digests(&self) -> Result<Vec<String>> {
        let wrong = self.each(
            "SELECT b.id, s.body FROM blob b LEFT JOIN small s ON s.id = b.id WHERE LENGTH(b.digest) != 32",
            [],
            |row| Ok((BlobId(row.get(0)?), row.get::<_, Option<Vec<u8>>>(1)?)),
        )?;
        let mut told = Vec::new();
        for (id, body) in wrong {
            let Some(digest) = body.map(|body| Digest::of(&body)) else {
                self.change("DELETE FROM blob WHERE id = ?1", [id.0])?;
                told.push(format!("blob {} without a digest is removed", id.0));
                continue;
            };
            self.change("UPDATE blob SET digest = ?2 WHERE id = ?1", params![id.0, digest.as_bytes()])?;
            told.push(format!("blob {} has the digest {digest} of its bytes now", id.0));
        }
        Ok(told)
    }

    /// Of blobs with the same digest one stays, if need be the one with the right bytes. A file is that of all of them.
    fn mend_same_digests(&self) -> Result<Vec<String>> {
        let same = self.each(
            "SELECT b.digest, b.id, s.body FROM blob b LEFT JOIN small s ON s.id = b.id
             WHERE b.digest IN (SELECT digest FROM blob GROUP BY digest HAVING COUNT(*) > 1)
             ORDER BY b.digest, b.place DESC, b.id",
            [],
            |row| {
                let DigestColumn(digest) = row.get(0)?;
                let body: Option<Vec<u8>> = row.get(2)?;
                Ok((digest, BlobId(row.get(1)?), body.is_some_and(|body| Digest::of(&body) == digest)))
            },
        )?;
        let mut told = Vec::new();
        for blobs in same.chunk_by(|a, b| a.0 == b.0) {
            let Some(kept) = blobs.iter().find(|(.., right)| *right).or(blobs.first()) else { continue };
            for (digest, id, _) in blobs.iter().filter(|blob| blob.1 != kept.1) {
                self.change("UPDATE node SET blob = ?2 WHERE blob = ?1", [id.0, kept.1.0])?;
                self.delete_small_body(*id)?;
                self.change("DELETE FROM blob WHERE id = ?1", [id.0])?;
                told.push(format!("the blobs {} and {} of digest {digest} are one now", kept.1.0, id.0));
            }
        }
        Ok(told)
    }
}
