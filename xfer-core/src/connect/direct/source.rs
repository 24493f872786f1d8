//! Who knows where the data ports of a machine are dialled now.

use async_trait::async_trait;

use crate::options::MappedPort;

/// Tells the port map of a machine, such as a platform's programming interface. It is asked when a
/// session begins, and again whenever a route is lost: maps change while machines run.
#[async_trait]
pub trait RouteSource: Send + Sync {
    /// Every port of the machine that is mapped now.
    ///
    /// # Errors
    /// When nobody knows; the text is for a person.
    async fn mapped_ports(&self) -> Result<Vec<MappedPort>, String>;
}
