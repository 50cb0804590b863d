//! Facets, types, client and layers of Grainchain: one interface to every sandbox
