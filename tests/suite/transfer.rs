//! Export and import: nothing is lost on the way, nothing half happens, and nobody gets what he may not see.

mod command;
mod conflicts;
mod crash;
mod live;
mod malformed;
mod moment;
mod place;
mod round_trip;
mod seed;
mod tenants;
mod values;
