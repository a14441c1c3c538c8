//! What the fuzz targets hold against every text; see `README.md` beside this crate.

pub mod properties;
