//! The counters as JSON. Names carry their units.

use nexus::stats::{BodyReport, Distribution, TrafficReport, Via};
use serde_json::{Map, Value, json};

use super::Shown;

pub(super) fn of(shown: &Shown) -> Value {
    let store = &shown.report.store;
    let seconds = store.nanos as f64 / 1e9;
    let mut commits = times(&store.commits.took);
    commits["operations"] = store.commits.operations.sum.into();
    commits["operations_p50"] = store.commits.operations.quantile(0.5).into();
    commits["operations_max"] = store.commits.operations.max.into();
    let caches = store.caches.iter();
    let caches: Map<_, _> =
        caches.map(|cache| (cache.name.clone(), json!({ "hits": cache.hits, "misses": cache.misses }))).collect();
    json!({
        "data_dir": shown.data_dir.to_string_lossy(),
        "pid": shown.report.pid,
        "since": if shown.is_all { "start" } else { "last_look" },
        "seconds": seconds,
        "mounts": shown.report.mounts.iter().map(|one| mount(one, seconds)).collect::<Vec<_>>(),
        "library_requests": times(&store.library),
        "commits": commits,
        "log_syncs": times(&store.log_syncs),
        "checkpoints": times(&store.checkpoints),
        "seals": times(&store.seals),
        "bodies_in_files": bodies(store.big),
        "bodies_in_database": bodies(store.small),
        "caches": caches,
        "page_cache_bytes": store.page_bytes,
        "now": store.backlog,
    })
}

fn mount(mount: &TrafficReport, seconds: f64) -> Value {
    let of = |via: Via| {
        let mut kinds = Map::new();
        for request in mount.requests.iter().filter(|request| request.via == via) {
            let mut shown = times(&request.took);
            shown["errors"] = request.errors.into();
            shown["per_second"] = super::table::rate(request.took.count(), seconds).into();
            kinds.insert(request.kind.clone(), shown);
        }
        Value::Object(kinds)
    };
    let errors: Map<_, _> = mount.errors.iter().map(|(word, count)| (word.clone(), (*count).into())).collect();
    json!({
        "mountpoint": String::from_utf8_lossy(&mount.mountpoint),
        "requests": { Via::IoUring.word(): of(Via::IoUring), Via::DevFuse.word(): of(Via::DevFuse) },
        "errors": errors,
        "bytes_read": mount.bytes_read,
        "bytes_written": mount.bytes_written,
        "passthrough_granted": mount.passthrough_granted,
        "passthrough_refused": mount.passthrough_refused,
        "notices": mount.notices,
        "bodies_given": mount.bodies_given,
        "kept_awake": mount.kept_awake,
        "awake_ns": mount.awake_nanos,
    })
}

/// How often, and how long it took.
fn times(took: &Distribution) -> Value {
    json!({
        "count": took.count(),
        "mean_ns": took.mean(),
        "p50_ns": took.quantile(0.5),
        "p90_ns": took.quantile(0.9),
        "p99_ns": took.quantile(0.99),
        "max_ns": took.max,
    })
}

fn bodies(bodies: BodyReport) -> Value {
    json!({
        "stored": bodies.stored,
        "stored_bytes": bodies.bytes,
        "shared": bodies.shared,
        "shared_bytes": bodies.shared_bytes,
    })
}
