//! `hearth`: everything that runs on the appliance.

fn main() {}
