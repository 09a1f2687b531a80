//! What Linux programs rely on and pjdfstest does not ask: a table of small scenes, most of them played on a plain directory first.

mod attributes;
mod bodies;
mod deep;
mod holes;
mod identity;
mod locks;
mod names;
mod privileges;
mod removed;
