//! The five views, for whoever reads the database with a tool of his own. They ask no more of SQLite than the tables do, which
//! are strict: 3.37.
//!
//! A row of a view is a row of `work` in the order of an index, and the path of its directory: a directory is renamed with
//! one row however much lies below, so no path can be kept anywhere.

/// A view. Its index is named where SQLite would rather take another, and sort. The paths of directories are found once for
/// all items in them.
macro_rules! view {
    ($name:literal, $which:literal, $index:literal, $order:literal, $more:literal) => {
        concat!(
            "CREATE VIEW ", $name, " AS
             WITH RECURSIVE
                 up (directory, node, path) AS (
                     SELECT DISTINCT w.parent, w.parent, '/' FROM work w", $index, " WHERE ", $which, "
                     UNION ALL
                     SELECT up.directory, e.parent, '/' || CAST(e.name AS TEXT) || up.path FROM up JOIN entry e ON e.node = up.node),
                 place (directory, path, tenant) AS MATERIALIZED (
                     SELECT directory, path,
                            IIF(path GLOB '/workspace/?*' OR path GLOB '/shared/?*' OR path GLOB '/archives/?*',
                                SUBSTR(SUBSTR(path, INSTR(SUBSTR(path, 2), '/') + 2), 1,
                                       INSTR(SUBSTR(path, INSTR(SUBSTR(path, 2), '/') + 2), '/') - 1), NULL)
                     FROM up WHERE node = 1)
             SELECT CAST(w.node AS TEXT) AS path_id,
                    p.path || w.name AS virtual_path,
                    p.tenant AS tenant_id,
                    w.size AS size_bytes,
                    w.content_hash AS content_hash,
                    w.created_at AS created_at,
                    w.updated_at AS updated_at,
                    w.status AS status,
                    w.priority AS priority", $more, "
             FROM work w", $index, " CROSS JOIN place p ON p.directory = w.parent
             WHERE ", $which, "
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
