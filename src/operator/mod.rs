//! The controller: observe, validate, plan, apply, report.
