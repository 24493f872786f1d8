//! What the fields of a survey may hold.

use super::fields::{FieldError, check_length, check_location};
use crate::limits;
use crate::survey::{Container, OpenFile, Process, Survey, Surveyed, Tree};

pub(super) fn check_survey(survey: &Survey) -> Result<(), FieldError> {
    check_length(&survey.roots, limits::SURVEY_ROOTS_MAX)?;
    survey.roots.iter().try_for_each(|root| check_absolute(root))
}

pub(super) fn check_container(container: &Container) -> Result<(), FieldError> {
    let label = container.label.as_deref().unwrap_or_default();
    let fits = label.len() <= limits::CONTAINER_LABEL_BYTES_MAX
        && label.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(()) } else { Err(FieldError::Survey) }
}

pub(super) fn check_surveyed(found: &Surveyed) -> Result<(), FieldError> {
    let Surveyed { writers, unreadable, shared, mounts, changed } = found;
    check_length(writers, limits::SURVEY_PROCESSES_MAX)?;
    check_length(unreadable, limits::SURVEY_PROCESSES_MAX)?;
    check_length(shared, limits::SURVEY_TREES_MAX)?;
    writers.iter().try_for_each(|OpenFile { process, path, .. }| {
        check_process(process)?;
        check_location(path)
    })?;
    unreadable.iter().try_for_each(check_process)?;
    shared.iter().try_for_each(|path| check_absolute(path))?;
    [mounts, changed].into_iter().flatten().try_for_each(|trees| {
        check_length(trees, limits::SURVEY_TREES_MAX)?;
        trees.iter().try_for_each(|Tree { path, .. }| check_absolute(path))
    })
}

fn check_process(process: &Process) -> Result<(), FieldError> {
    let fits = process.command.len() <= limits::SURVEY_COMMAND_BYTES_MAX;
    if fits { Ok(()) } else { Err(FieldError::Survey) }
}

fn check_absolute(path: &[u8]) -> Result<(), FieldError> {
    check_location(path)?;
    if path.starts_with(b"/") { Ok(()) } else { Err(FieldError::Path) }
}
