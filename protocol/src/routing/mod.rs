//! Routing: distances, the table of service nodes, the claims held for rooms.
