//! The tables of the queue, and the views for whoever reads the database with a tool of his own.
//!
//! Nothing here is a truth of its own but the numbers of claims and what a path in `user.depends_on` led to when it was
//! set: all else follows from attributes, and is kept beside them so that a list is one range of an index.

/// An instant as RFC 3339 in UTC, with as many digits behind the second as it needs: what `model::rfc3339` gives. From the
/// second second of 1970 on the fraction is the last nine digits as they stand, which takes a view half the time.
macro_rules! instant {
    ($ns:literal) => {
        concat!(
            "IIF(",
            $ns,
            " >= 1000000000,
                 REPLACE(DATETIME(",
            $ns,
            " / 1000000000, 'unixepoch'), ' ', 'T') || RTRIM('.' || SUBSTR(",
            $ns,
            ", -9), '.0') || 'Z',
                 REPLACE(DATETIME(",
            $ns,
            " / 1000000000 - (",
            $ns,
            " % 1000000000 < 0), 'unixepoch'), ' ', 'T')
                 || IIF(",
            $ns,
            " % 1000000000 = 0, '',
                        RTRIM('.' || SUBSTR((",
            $ns,
            " % 1000000000 + 1000000000) % 1000000000 + 1000000000, 2), '0')) || 'Z')"
        )
    };
}

/// An attribute of a work item as text; of the row that the name or alias stands for, `w` if none is given.
macro_rules! attribute {
    ($key:literal) => {
        attribute!($key, "w")
    };
    ($key:literal, $row:literal) => {
        concat!(
            "(SELECT CAST(a.value AS TEXT) FROM attr a WHERE a.node = ",
            $row,
            ".node AND a.key = CAST('user.",
            $key,
            "' AS BLOB))"
        )
    };
}

pub(super) use attribute;

/// The texts of the attributes that the views show, as the columns of `work` have them.
macro_rules! texts {
    () => {
        concat!(
            "worker_id = ",
            attribute!("worker_id", "work"),
            ", started_at = ",
            attribute!("started_at", "work"),
            ", tags = ",
            attribute!("tags", "work")
        )
    };
}

pub(super) use texts;

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
    worker_id TEXT,                     -- user.worker_id, for the views, as the next two
    started_at TEXT,                    -- user.started_at
    tags TEXT,                          -- user.tags
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

/// Their indexes, in the order of the lists.
pub(in crate::meta::sqlite) const INDEXES: &str = "
CREATE INDEX work_queue ON work (state, rank, created, node);
CREATE INDEX work_rank ON work (rank, created, node);
CREATE INDEX work_newest ON work (newest, rank, created, node) WHERE state = 'in_progress';
CREATE INDEX work_most ON work (most, rank, created, node) WHERE state = 'blocked';
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

/// What keeps the counts, and gives a new row the texts of its attributes. The views read them there: a look at the
/// attributes of each item took as long as all else together.
pub(in crate::meta::sqlite) const TRIGGERS: &str = concat!(
    "
CREATE TRIGGER work_comes AFTER INSERT ON work BEGIN
    UPDATE work_count SET items = items + 1 WHERE state = NEW.state;
    UPDATE work SET ",
    texts!(),
    " WHERE node = NEW.node;
END;
CREATE TRIGGER work_goes AFTER DELETE ON work BEGIN
    UPDATE work_count SET items = items - 1 WHERE state = OLD.state;
END;
CREATE TRIGGER work_moves AFTER UPDATE ON work WHEN OLD.state != NEW.state BEGIN
    UPDATE work_count SET items = items - 1 WHERE state = OLD.state;
    UPDATE work_count SET items = items + 1 WHERE state = NEW.state;
END;
"
);

/// From format 3 to 4: the texts of attributes stand in the rows. What names the table goes, and is made anew.
pub(in crate::meta::sqlite) const FORGET_QUEUE: &str = "
    DROP VIEW ready_work_items; DROP VIEW pending_work_items; DROP VIEW blocked_work_items; DROP VIEW in_progress_work;
    DROP VIEW work_by_priority;
    DROP TRIGGER work_comes; DROP TRIGGER work_goes; DROP TRIGGER work_moves;
    DROP INDEX work_queue; DROP INDEX work_rank; DROP INDEX work_newest; DROP INDEX work_most; DROP INDEX work_lease;
    ALTER TABLE work RENAME TO work_3;";

/// Brings the rows into the table of this format, before indexes and triggers are made.
pub(in crate::meta::sqlite) const FROM_FORMAT_3: &str = concat!(
    "INSERT INTO work (node, status, open, priority, created, started, lease, claim)
         SELECT node, status, open, priority, created, started, lease, claim FROM work_3;
     DROP TABLE work_3;
     UPDATE work SET ",
    texts!(),
    ";"
);

/// A view. Its index is named where SQLite would rather take another, and sort. The paths of directories are found once for all
/// items in them. An item with several names is shown under that
/// of the smallest directory number and, among these, the smallest.
macro_rules! view {
    ($name:literal, $which:literal, $index:literal, $order:literal, $more:expr) => {
        concat!(
            "CREATE VIEW ", $name, " AS
             WITH RECURSIVE
                 up (directory, node, path) AS (
                     SELECT DISTINCT e.parent, e.parent, '' FROM work w CROSS JOIN entry e ON e.node = w.node WHERE ", $which, "
                     UNION ALL
                     SELECT up.directory, e.parent, '/' || CAST(e.name AS TEXT) || up.path FROM up JOIN entry e ON e.node = up.node),
                 place (directory, path, tenant) AS MATERIALIZED (
                     SELECT directory, path,
                            IIF(path GLOB '/workspace/*' OR path GLOB '/shared/*' OR path GLOB '/archives/*',
                                SUBSTR(SUBSTR(path, INSTR(SUBSTR(path, 2), '/') + 2), 1,
                                       INSTR(SUBSTR(path, INSTR(SUBSTR(path, 2), '/') + 2) || '/', '/') - 1), NULL)
                     FROM up WHERE node = 1)
             SELECT CAST(w.node AS TEXT) AS path_id,
                    p.path || '/' || CAST(e.name AS TEXT) AS virtual_path,
                    p.tenant AS tenant_id,
                    n.size AS size_bytes,
                    CASE WHEN n.draft IS NOT NULL THEN NULL
                         WHEN b.id IS NOT NULL THEN LOWER(HEX(b.digest))
                         WHEN n.version > 0 THEN 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
                    END AS content_hash,
                    w.created_at AS created_at,
                    ", instant!("n.ctime"), " AS updated_at,
                    w.status AS status,
                    w.priority AS priority", $more, "
             FROM work w", $index, " CROSS JOIN node n ON n.id = w.node CROSS JOIN entry e ON e.node = w.node
                  CROSS JOIN place p ON p.directory = e.parent LEFT JOIN blob b ON b.id = n.blob
             WHERE ", $which, "
               AND (n.nlink = 1
                    OR NOT EXISTS (SELECT 1 FROM entry f WHERE f.node = e.node AND (f.parent, f.name) < (e.parent, e.name)))
             ORDER BY ", $order, "w.rank, w.created, w.node;\n"
        )
    };
}

/// The five views.
pub(in crate::meta::sqlite) const VIEWS: &str = concat!(
    view!("ready_work_items", "w.state = 'ready'", "", "", ""),
    view!("pending_work_items", "w.state = 'pending'", "", "", ""),
    view!(
        "blocked_work_items",
        "w.state = 'blocked'",
        " INDEXED BY work_most",
        "w.most, ",
        ", w.open AS blocker_count"
    ),
    view!(
        "in_progress_work",
        "w.state = 'in_progress'",
        " INDEXED BY work_newest",
        "w.newest, ",
        ", w.worker_id AS worker_id, w.started_at AS started_at"
    ),
    view!("work_by_priority", "TRUE", "", "", ", w.tags AS tags"),
);
