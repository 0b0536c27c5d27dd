pub mod self_subject_review;
pub mod token_review;
