//! What is true of the queue against the attributes it follows from, as far as SQL cannot say it.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::meta::{ReadTxn, WorkRow, WriteTxn};
use crate::model::NodeId;
use crate::model::work::{self, Status, Target, key};

use super::keep::{derive, is_file};

/// Rows looked at in one go.
const BATCH: usize = 256;
/// How many violations of one kind are told.
const TOLD_MAX: usize = 20;

/// What contradicts the attributes, a sentence each.
///
/// # Errors
/// What the database reports.
pub fn violations(read: ReadTxn<'_>) -> Result<Vec<String>> {
    let mut told = Vec::new();
    rows_say_what_attributes_say(read, &mut told)?;
    numbers_are_dependencies(read, &mut told)?;
    if let Some((item, target)) = circles(read)?.first() {
        told.push(format!("file {item} depends on file {target} in a circle (dependencies lead in no circle)"));
    }
    Ok(told)
}

/// The row of an item follows from its attributes, and who has a status has a row.
fn rows_say_what_attributes_say(read: ReadTxn<'_>, told: &mut Vec<String>) -> Result<()> {
    let mut count = 0;
    for (id, _, value) in read.files_with(key::STATUS)? {
        let Ok(status) = Status::parse(&value) else { continue };
        let wanted = derive(&read, &read.node(id)?, status)?;
        let is = read.work(id)?.map(|row| WorkRow { open: 0, claim: 0, ..row });
        if is != Some(wanted) {
            count += 1;
            if count <= TOLD_MAX {
                told.push(format!(
                    "file {id} of status {status} stands otherwise in the queue (the queue says what the attributes say)"
                ));
            }
        }
    }
    Ok(())
}

/// What `user.depends_on` names by its number is a dependency. What a path led to when it was set, nobody knows later.
fn numbers_are_dependencies(read: ReadTxn<'_>, told: &mut Vec<String>) -> Result<()> {
    let mut count = 0;
    for (id, _, value) in read.files_with(key::DEPENDS_ON)? {
        let Ok(targets) = work::parse_depends_on(&value) else { continue };
        let noted = read.dependencies(id)?;
        for target in targets {
            let Target::Node(target) = target else { continue };
            let exists = read.find_node(target)?.is_some_and(|node| is_file(&node));
            if exists && target != id && !noted.contains(&target) {
                count += 1;
                if count <= TOLD_MAX {
                    told.push(format!(
                        "file {id} does not wait for file {target} (a number in depends_on is a dependency)"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Dependencies without which there would be no circle.
fn circles(read: ReadTxn<'_>) -> Result<Vec<(NodeId, NodeId)>> {
    let mut needs: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    let mut after = (NodeId(0), NodeId(0));
    loop {
        let rows = read.dependency_page(after, BATCH)?;
        let Some(last) = rows.last() else { break };
        after = *last;
        for (item, target) in rows {
            needs.entry(item).or_default().push(target);
        }
    }
    let mut items: Vec<_> = needs.keys().copied().collect();
    items.sort();
    // Depth first, without recursion: a chain may be as long as the store has files.
    let (mut done, mut above, mut closing) = (HashSet::new(), HashSet::new(), Vec::new());
    for item in items {
        let mut stack = vec![(item, 0)];
        while let Some((node, next)) = stack.pop() {
            if next == 0 && (done.contains(&node) || !above.insert(node)) {
                continue;
            }
            let targets = needs.get(&node).map_or(&[][..], Vec::as_slice);
            match targets.get(next) {
                Some(target) => {
                    stack.push((node, next + 1));
                    if above.contains(target) {
                        closing.push((node, *target));
                    } else if !done.contains(target) {
                        stack.push((*target, 0));
                    }
                }
                None => {
                    above.remove(&node);
                    done.insert(node);
                }
            }
        }
    }
    Ok(closing)
}

/// Makes the queue anew where it contradicts the attributes; what was done.
///
/// # Errors
/// What the database reports.
pub fn mend(txn: &WriteTxn<'_>) -> Result<Vec<String>> {
    txn.show_changed()?;
    if txn.work_violations()?.is_empty() && violations(**txn)?.is_empty() {
        return Ok(Vec::new());
    }
    let told = rebuild(txn)?;
    Ok(std::iter::once("the queue of work items is made anew from the attributes".to_owned()).chain(told).collect())
}

/// Makes the whole queue from the attributes; numbers of claims stay, and what paths once led to. Dependencies that had to
/// be given up are told.
///
/// # Errors
/// What the database reports.
pub fn rebuild(txn: &WriteTxn<'_>) -> Result<Vec<String>> {
    let mut told = Vec::new();
    txn.delete_impossible_dependencies()?;
    for (id, _, value) in txn.files_with(key::DEPENDS_ON)? {
        let Ok(targets) = work::parse_depends_on(&value) else { continue };
        let noted = !txn.dependencies(id)?.is_empty();
        for target in targets {
            let found = match target {
                Target::Node(target) => txn.find_node(target)?,
                Target::Path(_) if noted => None,
                Target::Path(path) => {
                    let mut found = txn.find_node(NodeId::ROOT)?;
                    for name in path.names() {
                        let Some(directory) = found else { break };
                        found = txn.child(directory.attr.id, name)?;
                    }
                    found
                }
            };
            if let Some(target) = found.filter(|node| is_file(node) && node.attr.id != id) {
                txn.insert_dependency(id, target.attr.id)?;
            }
        }
    }
    for (item, target) in circles(**txn)? {
        txn.delete_dependency(item, target)?;
        txn.delete_attr(item, key::DEPENDS_ON)?;
        txn.delete_dependencies(item)?;
        told.push(format!("file {item} depended on file {target} in a circle and depends on nothing now"));
    }
    let mut rows = Vec::new();
    for (id, _, value) in txn.files_with(key::STATUS)? {
        let Ok(status) = Status::parse(&value) else { continue };
        let claim = txn.claim_of(id)?;
        rows.push(WorkRow { claim, ..derive(txn, &txn.node(id)?, status)? });
    }
    txn.delete_all_work()?;
    for row in &rows {
        txn.insert_work(row)?;
    }
    for row in &rows {
        let open = txn.count_open_dependencies(row.node)?;
        if open > 0 {
            txn.update_work(&WorkRow { open, ..*row })?;
        }
    }
    txn.recount_work()?;
    let latest = rows.iter().map(|row| row.claim).max().unwrap_or(0);
    // A count below zero is none.
    if txn.claims().map_or(true, |counted| counted < latest) {
        txn.set_setting("claims", latest.cast_signed())?;
    }
    Ok(told)
}
