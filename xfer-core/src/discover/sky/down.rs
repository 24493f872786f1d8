//! The end of a cluster: `sky down`, never with `--purge`, and what its cloud says around it.
//!
//! A cluster goes as a whole, so one of several machines is refused: a token is for one of them.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::super::error::{ApiProblem, PlatformError};
use super::super::{Ordered, Shown};
use super::status::{self, Cluster};
use super::{Member, Sky, as_worker, program};

/// What is asked for clusters as their clouds have them now.
const REFRESHED: [&str; 4] = ["status", "--refresh", "-o", "json"];

/// Time for that; the program asks every cloud of the clusters in question.
const REFRESHED_WITHIN: Duration = Duration::from_secs(120);

/// Time for a cluster to go. What is under way then goes on without the program.
const DOWN_WITHIN: Duration = Duration::from_secs(600);

/// What begins the names of clusters that run others: these go with them.
const CONTROLLERS: &[&str] =
    &["sky-jobs-controller", "sky-serve-controller", "sky-spot-controller"];

impl Sky {
    /// A cluster as its cloud has it now: gone only where the cloud was asked, and where no list of
    /// anybody's has it.
    ///
    /// # Errors
    /// Where nobody knows, or where more would go with it.
    pub(super) async fn at_the_cloud(&self, name: &str) -> Result<Shown, PlatformError> {
        match self.alone(name).await? {
            Some(cluster) => {
                let member = Member { cluster: &cluster, name: name.to_owned(), index: 0 };
                let row = self.row(&member, &[], &OnceCell::new()).await?;
                Ok(Shown::Present(Box::new(row)))
            }
            None => {
                self.surely_gone(name).await?;
                Ok(Shown::Gone)
            }
        }
    }

    /// Has a cluster of one machine go. Asked once, whatever comes of it.
    pub(super) async fn down(&self, name: &str) -> Ordered {
        match self.alone(name).await {
            // Nothing was asked for yet.
            Err(error) => return Ordered::Refused(error.to_string()),
            Ok(None) => return Ordered::AlreadyGone,
            Ok(Some(_)) => {}
        }
        let arguments = ["down", "-y", name];
        match program::run_within(&self.settings.program, &arguments, DOWN_WITHIN).await {
            Ok(_) => Ordered::Accepted,
            // It may have got far before it failed, and its server may go on.
            Err(problem) => Ordered::Unknown(problem.to_string()),
        }
    }

    /// The cluster of that name, where it is there; an error where it is not one machine.
    async fn alone(&self, name: &str) -> Result<Option<Cluster>, PlatformError> {
        let refused = |what: String| Err(self.failed(ApiProblem::Answer(what)));
        if CONTROLLERS.iter().any(|begin| name.starts_with(begin)) {
            return refused(format!("{name} runs other clusters, which would go with it"));
        }
        let found = self.refreshed(&[name]).await?.into_iter().find(|found| found.name == name);
        match found {
            None if as_worker(name).is_some() => {
                refused(format!("{name} is no cluster, and a machine of one does not go by itself"))
            }
            Some(cluster) if cluster.machines != 1 => refused(format!(
                "{name} has {} machines, and all of them would go",
                cluster.machines
            )),
            Some(cluster) => {
                if let Some(called) = &cluster.name_on_cloud {
                    self.called().insert(name.to_owned(), called.clone());
                }
                Ok(Some(cluster))
            }
            None => Ok(None),
        }
    }

    async fn refreshed(&self, names: &[&str]) -> Result<Vec<Cluster>, PlatformError> {
        let arguments = [&REFRESHED[..], names].concat();
        let program = &self.settings.program;
        let said = program::run_within(program, &arguments, REFRESHED_WITHIN).await;
        let said = said.map_err(|problem| self.failed(problem))?;
        status::read(&said).map_err(|what| self.failed(ApiProblem::Answer(what)))
    }

    /// Holds it against the list of all clusters, and against Vast's own, of which some versions of
    /// SkyPilot see nothing (its issue 10517).
    async fn surely_gone(&self, name: &str) -> Result<(), PlatformError> {
        let there = |what: String| Err(self.failed(ApiProblem::Answer(what)));
        let all = self.refreshed(&[]).await?;
        if all.iter().any(|cluster| cluster.name == name) {
            return there(format!("{name} is in the list of all clusters, and not by itself"));
        }
        let vast = match &self.vast {
            Ok(vast) => vast,
            // Without a key nobody here has made anything there.
            Err(PlatformError { problem: ApiProblem::KeyMissing(_), .. }) => return Ok(()),
            Err(error) => return Err(error.clone()),
        };
        let called = self.called().get(name).cloned();
        for row in vast.list().await? {
            let label = row.label.as_deref().unwrap_or_default();
            if is_of(label, name, called.as_deref(), &all) {
                return there(format!("{} is still there, labelled {label}", row.machine));
            }
        }
        Ok(())
    }

    fn called(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a label at Vast.ai is that of a machine of a cluster. Where nothing tells any more what
/// the cluster is called there, every label counts that begins with its name and is no other's.
fn is_of(label: &str, name: &str, called: Option<&str>, others: &[Cluster]) -> bool {
    let Some(of) = label.strip_suffix("-head").or_else(|| label.strip_suffix("-worker")) else {
        return false;
    };
    match called {
        Some(called) => of == called,
        None => {
            let is_others = others.iter().any(|o| o.name_on_cloud.as_deref() == Some(of));
            let begins = of.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
            of == name || begins && !is_others
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_of_the_cluster_that_it_names_and_of_no_other_known_one() {
        let listed = r#"[{"name":"train-2","status":"UP","cluster_name_on_cloud":"train-2-1a2b"}]"#;
        let others = status::read(listed.as_bytes()).unwrap();
        for (label, called, is) in [
            ("train-1a2b-head", Some("train-1a2b"), true),
            ("train-1a2b-worker", Some("train-1a2b"), true),
            ("train-1a2b", Some("train-1a2b"), false),
            ("train-2-1a2b-head", Some("train-1a2b"), false),
            ("train-1a2b-head", None, true),
            ("train-head", None, true),
            ("train-2-1a2b-head", None, false),
            ("training-1a2b-head", None, false),
            ("", None, false),
        ] {
            assert_eq!(is_of(label, "train", called, &others), is, "{label} {called:?}");
        }
    }
}
