//! The memory node (`rdmafs serve`): arena, doors, namespace service and its store.
