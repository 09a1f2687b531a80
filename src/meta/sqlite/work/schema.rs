//! The tables of the queue.
//!
//! Nothing here is a truth of its own but the numbers of claims and what a path in `user.depends_on` led to when it was
//! set: all else follows from attributes and nodes, and is kept beside them so that a list is one range of an index.

use super::shown::{attribute, content_hash, facts, instant, name_of};

/// The rows.
pub(in crate::meta::sqlite) const WORK: &str = concat!(
    "
-- Work items: the files that have user.status and a name.
CREATE TABLE work (
    node INTEGER PRIMARY KEY,           -- the file
    status TEXT NOT NULL,               -- what user.status says: ready, pending, blocked, in_progress, completed, failed
    open INTEGER NOT NULL,              -- its dependencies that are not completed
    priority INTEGER,                   -- user.priority; NULL: none
    created INTEGER NOT NULL,           -- the file's creation, ns since 1970: the older goes first
    started INTEGER,                    -- user.started_at where it is a time, ns since 1970
    lease INTEGER,                      -- of an item in progress: user.lease_until, ns since 1970; NULL: for ever
    claim INTEGER NOT NULL,             -- number of its latest claim (setting 'claims' counts them); 0: never claimed
    worker_id TEXT,                     -- user.worker_id; for the views, as all that follow up to created_at
    started_at TEXT,                    -- user.started_at
    tags TEXT,                          -- user.tags
    size INTEGER,                       -- of the node
    content_hash TEXT,                  -- of the node's body, lower-case hex; NULL: being written
    updated_at TEXT,                    -- the node's ctime
    parent INTEGER,                     -- the directory of the name it is shown under: of several the smallest
    name TEXT,                          -- that name, and in the directory the smallest
    created_at TEXT NOT NULL AS (       -- created as the views show it
        ",
    instant!("created"),
    ") STORED,
    state TEXT NOT NULL AS (            -- where it stands: something open blocks what could be started
        IIF(open > 0 AND status IN ('ready', 'pending'), 'blocked', status)) VIRTUAL,
    rank INTEGER NOT NULL AS (COALESCE(priority, 9999999999)) VIRTUAL,              -- ascending: no priority comes last
    newest INTEGER NOT NULL AS (COALESCE(-started, 9223372036854775807)) VIRTUAL,   -- ascending: started last comes first
    most INTEGER NOT NULL AS (-open) VIRTUAL                                        -- ascending: most dependencies first
) STRICT;
"
);

/// Their indexes, in the order of the lists. The directory behind the number of the file changes no order: the views gather
/// the directories of a list from the index alone.
pub(in crate::meta::sqlite) const INDEXES: &str = "
CREATE INDEX work_queue ON work (state, rank, created, node, parent);
CREATE INDEX work_rank ON work (rank, created, node, parent);
CREATE INDEX work_newest ON work (newest, rank, created, node, parent) WHERE state = 'in_progress';
CREATE INDEX work_most ON work (most, rank, created, node, parent) WHERE state = 'blocked';
CREATE INDEX work_lease ON work (lease) WHERE lease IS NOT NULL;
";

/// What belongs to the rows.
pub(in crate::meta::sqlite) const TABLES: &str = "
-- What has to be completed before an item can be started. Of a deleted file no row is left.
CREATE TABLE dependency (
    item INTEGER NOT NULL,              -- the file with user.depends_on
    target INTEGER NOT NULL,            -- the file that is named there
    PRIMARY KEY (item, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX dependency_target ON dependency (target);

-- How many items stand where.
CREATE TABLE work_count (
    state TEXT PRIMARY KEY,             -- as in work
    items INTEGER NOT NULL              -- rows of work in that state
) STRICT, WITHOUT ROWID;
INSERT INTO work_count VALUES ('ready', 0), ('pending', 0), ('blocked', 0), ('in_progress', 0), ('completed', 0), ('failed', 0);

-- For searches by custom metadata: the beginning of a value is enough to find it.
CREATE INDEX attr_value ON attr (key, SUBSTR(value, 1, 64), node);
";

/// What keeps the counts.
pub(in crate::meta::sqlite) const TRIGGERS: &str = "
CREATE TRIGGER work_comes AFTER INSERT ON work BEGIN
    UPDATE work_count SET items = items + 1 WHERE state = NEW.state;
END;
CREATE TRIGGER work_goes AFTER DELETE ON work BEGIN
    UPDATE work_count SET items = items - 1 WHERE state = OLD.state;
END;
CREATE TRIGGER work_moves AFTER UPDATE OF status, open ON work WHEN OLD.state != NEW.state BEGIN
    UPDATE work_count SET items = items - 1 WHERE state = OLD.state;
    UPDATE work_count SET items = items + 1 WHERE state = NEW.state;
END;
";

/// From formats 2 to 4, which had fewer columns for the views: what names the table goes, and is made anew.
pub(in crate::meta::sqlite) const FORGET_QUEUE: &str = "
    DROP VIEW ready_work_items; DROP VIEW pending_work_items; DROP VIEW blocked_work_items; DROP VIEW in_progress_work;
    DROP VIEW work_by_priority;
    DROP TRIGGER work_comes; DROP TRIGGER work_goes; DROP TRIGGER work_moves;
    DROP INDEX work_queue; DROP INDEX work_rank; DROP INDEX work_newest; DROP INDEX work_most; DROP INDEX work_lease;
    ALTER TABLE work RENAME TO work_before;";

/// Brings the rows into the table of this format, before indexes and triggers are made.
pub(in crate::meta::sqlite) const FROM_FORMAT_4: &str = concat!(
    "INSERT INTO work (node, status, open, priority, created, started, lease, claim)
         SELECT node, status, open, priority, created, started, lease, claim FROM work_before;
     DROP TABLE work_before;
     UPDATE work SET ",
    facts!(),
    ", (parent, name) = ",
    name_of!("work.node"),
    ";"
);
