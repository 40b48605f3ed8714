//! The connections of one configured datasource, kept until its settings change.
//!
//! Grafana sends the settings with every request; they are read again only when `lastUpdatedMS` differs from what was seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use grafana_plugin::{DataSourceSettings, QueryError, RequestContext};
use statline_flight::Client;

use crate::settings::Settings;
use crate::sql::Postgres;

/// The most datasources whose connections are kept; beyond it, the one that was made first goes.
const MAX_INSTANCES: usize = 128;

/// One configured datasource.
#[derive(Debug)]
pub struct Instance {
    sidecar: Option<Client>,
    postgres: Option<Postgres>,
}

impl Instance {
    fn new(settings: &DataSourceSettings) -> Result<Self, QueryError> {
        let settings = Settings::read(settings).map_err(|error| QueryError::bad_request(error.to_string()))?;
        let sidecar = settings.sidecar.as_ref().map(Client::new).transpose();
        Ok(Self {
            sidecar: sidecar.map_err(|error| QueryError::bad_request(error.to_string()))?,
            postgres: settings.postgres.map(Postgres::new),
        })
    }

    /// The sidecar, when it is configured.
    pub const fn configured_sidecar(&self) -> Option<&Client> {
        self.sidecar.as_ref()
    }

    /// PostgreSQL, when it is configured.
    pub const fn configured_postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }

    /// The sidecar.
    ///
    /// # Errors
    /// When it is not configured.
    pub fn sidecar(&self) -> Result<&Client, QueryError> {
        self.sidecar.as_ref().ok_or_else(|| {
            QueryError::bad_request("this datasource has no sidecar; enter the address of statlined in its settings")
        })
    }

    /// PostgreSQL.
    ///
    /// # Errors
    /// When it is not configured.
    pub fn postgres(&self) -> Result<&Postgres, QueryError> {
        self.postgres.as_ref().ok_or_else(|| {
            QueryError::bad_request(
                "this datasource has no PostgreSQL; enter its host, database and user in the settings",
            )
        })
    }
}

/// Every datasource that was asked for.
#[derive(Default)]
pub struct Instances {
    kept: Mutex<HashMap<(i64, String), Kept>>,
}

struct Kept {
    updated_ms: i64,
    made: u64,
    instance: Arc<Instance>,
}

impl Instances {
    /// The instance that a request is for, made when it is new or its settings have changed.
    ///
    /// # Errors
    /// When the request has no settings, or they cannot work.
    pub fn of(&self, context: &RequestContext) -> Result<Arc<Instance>, QueryError> {
        let settings = context.data_source()?;
        let key = (context.plugin.org_id, settings.uid.clone());
        // No thread panics while it holds the lock; a poisoned map is as good as before.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(&key)
            && known.updated_ms == settings.updated_ms
        {
            return Ok(Arc::clone(&known.instance));
        }
        let instance = Arc::new(Instance::new(settings)?);
        let made = kept.values().map(|kept| kept.made + 1).max().unwrap_or(0);
        if kept.len() >= MAX_INSTANCES
            && let Some(oldest) = kept.iter().min_by_key(|(_, kept)| kept.made).map(|(key, _)| key.clone())
        {
            kept.remove(&oldest);
        }
        // Queries that run on the old instance hold it; its connections close with the last of them.
        kept.insert(key, Kept { updated_ms: settings.updated_ms, made, instance: Arc::clone(&instance) });
        Ok(instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grafana_plugin::PluginContext;

    fn request(uid: &str, updated_ms: i64) -> RequestContext {
        let settings = DataSourceSettings {
            uid: uid.to_owned(),
            updated_ms,
            json_data: r#"{"sidecar":{"address":"http://127.0.0.1:8815"}}"#.into(),
            ..DataSourceSettings::default()
        };
        RequestContext {
            plugin: PluginContext { data_source: Some(settings), ..PluginContext::default() },
            ..RequestContext::default()
        }
    }

    #[tokio::test]
    async fn an_instance_lives_until_its_settings_change() {
        let instances = Instances::default();
        let first = instances.of(&request("a", 1)).unwrap();
        assert!(Arc::ptr_eq(&first, &instances.of(&request("a", 1)).unwrap()));
        assert!(!Arc::ptr_eq(&first, &instances.of(&request("b", 1)).unwrap()));
        assert!(!Arc::ptr_eq(&first, &instances.of(&request("a", 2)).unwrap()));
    }

    #[tokio::test]
    async fn no_number_of_datasources_grows_memory_without_a_bound() {
        let instances = Instances::default();
        for uid in 0..MAX_INSTANCES * 2 {
            instances.of(&request(&uid.to_string(), 1)).unwrap();
        }
        assert_eq!(instances.kept.lock().unwrap().len(), MAX_INSTANCES);
    }
}
