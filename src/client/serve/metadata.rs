//! Custom metadata, and finding files by it.

use serde_bytes::ByteBuf;

use super::super::request::{Item, Reply};
use super::{Context, Exchange};
use crate::error::{Error, ErrorKind, Result};
use crate::model::VPath;
use crate::model::metadata::{Condition, MetaValue};

impl Context<'_> {
    pub(super) fn metadata(&self, path: &VPath, key: &str) -> Result<Reply> {
        Ok(match self.view.meta_get(self.find(path)?.id, key)? {
            MetaValue::Json(value) => Reply::Json(value.to_string()),
            MetaValue::Bytes(bytes) => Reply::Binary(ByteBuf::from(bytes)),
        })
    }

    pub(super) fn set_metadata(&self, path: &VPath, key: &str, json: &str) -> Result<()> {
        let value = serde_json::from_str(json)
            .map_err(|e| Error::new(ErrorKind::Invalid, "understand the JSON value").because(e))?;
        self.view.meta_set(self.find(path)?.id, key, &MetaValue::Json(value))
    }

    pub(super) fn remove_metadata(&self, path: &VPath, key: &str) -> Result<()> {
        self.view.meta_remove(self.find(path)?.id, key)
    }

    pub(super) fn list_metadata(&self, path: &VPath, exchange: &mut dyn Exchange) -> Result<()> {
        for (key, value) in self.view.meta_list(self.find(path)?.id)? {
            exchange.item(match value {
                MetaValue::Json(value) => Item::Metadata(key, value.to_string()),
                MetaValue::Bytes(bytes) => Item::Binary(key, ByteBuf::from(bytes)),
            })?;
        }
        Ok(())
    }

    pub(super) fn find_by_metadata(
        &self,
        conditions: &[Condition],
        under: &VPath,
        exchange: &mut dyn Exchange,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.view.meta_find(conditions, under, after.as_ref())?;
            page.found.into_iter().try_for_each(|found| exchange.item(Item::Match(found)))?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}
