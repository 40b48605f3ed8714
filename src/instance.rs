//! The connections of one configured datasource, kept until its settings change.
//!
//! Grafana sends the settings with every request; they are read again only when `lastUpdatedMS` differs from what was seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grafana_plugin::{DataSourceSettings, QueryError, RequestContext};
use statline_flight::Client;

use crate::settings::{Half, Settings, SettingsError};
use crate::sql::Postgres;

/// The most datasources whose connections are kept; beyond it, the one that was made first goes.
const MAX_INSTANCES: usize = 128;

/// One configured datasource.
#[derive(Debug)]
pub struct Instance {
    sidecar: Half<Client>,
    postgres: Half<Postgres>,
}

impl Instance {
    fn new(settings: &DataSourceSettings) -> Result<Self, QueryError> {
        let settings = Settings::read(settings).map_err(|error| QueryError::bad_request(error.to_string()))?;
        let sidecar = settings.sidecar.and_then(|sidecar| {
            let client = sidecar.as_ref().map(Client::new).transpose();
            client.map_err(|error| SettingsError::Invalid(error.message))
        });
        Ok(Self { sidecar, postgres: settings.postgres.map(|postgres| postgres.map(Postgres::new)) })
    }

    /// The sidecar, when it is configured.
    ///
    /// # Errors
    /// When its settings cannot work.
    pub fn configured_sidecar(&self) -> Result<Option<&Client>, QueryError> {
        configured(&self.sidecar)
    }

    /// PostgreSQL, when it is configured.
    ///
    /// # Errors
    /// When its settings cannot work.
    pub fn configured_postgres(&self) -> Result<Option<&Postgres>, QueryError> {
        configured(&self.postgres)
    }

    /// The sidecar.
    ///
    /// # Errors
    /// When it is not configured, or its settings cannot work.
    pub fn sidecar(&self) -> Result<&Client, QueryError> {
        self.configured_sidecar()?.ok_or_else(|| {
            QueryError::bad_request("this datasource has no sidecar; enter the address of statlined in its settings")
        })
    }

    /// PostgreSQL.
    ///
    /// # Errors
    /// When it is not configured, or its settings cannot work.
    pub fn postgres(&self) -> Result<&Postgres, QueryError> {
        self.configured_postgres()?.ok_or_else(|| {
            QueryError::bad_request(
                "this datasource has no PostgreSQL; enter its host, database and user in the settings",
            )
        })
    }
}

fn configured<T>(half: &Half<T>) -> Result<Option<&T>, QueryError> {
    half.as_ref().map(Option::as_ref).map_err(|error| QueryError::bad_request(error.to_string()))
}

/// The organisation and the uid of a datasource.
type Key = (i64, String);

/// Every datasource that was asked for.
#[derive(Default)]
pub struct Instances {
    kept: Mutex<HashMap<Key, Kept>>,
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
        self.of_made_by(context, Instance::new)
    }

    fn of_made_by(
        &self,
        context: &RequestContext,
        make: impl FnOnce(&DataSourceSettings) -> Result<Instance, QueryError>,
    ) -> Result<Arc<Instance>, QueryError> {
        let settings = context.data_source()?;
        let key = (context.plugin.org_id, settings.uid.clone());
        if let Some(known) = known(&self.lock(), &key, settings.updated_ms) {
            return Ok(known);
        }
        // Certificates are read from disk here, which the other datasources need not wait for.
        let instance = Arc::new(make(settings)?);
        let mut kept = self.lock();
        // Another request may have been faster; everyone shares its connections.
        if let Some(known) = known(&kept, &key, settings.updated_ms) {
            return Ok(known);
        }
        let made = kept.values().map(|kept| kept.made + 1).max().unwrap_or(0);
        if kept.len() >= MAX_INSTANCES
            && !kept.contains_key(&key)
            && let Some(oldest) = kept.iter().min_by_key(|(_, kept)| kept.made).map(|(key, _)| key.clone())
        {
            kept.remove(&oldest);
        }
        // Queries that run on the old instance hold it; its connections close with the last of them.
        kept.insert(key, Kept { updated_ms: settings.updated_ms, made, instance: Arc::clone(&instance) });
        Ok(instance)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Kept>> {
        // No thread panics while it holds the lock; a poisoned map is as good as before.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn known(kept: &HashMap<Key, Kept>, key: &Key, updated_ms: i64) -> Option<Arc<Instance>> {
    kept.get(key).filter(|kept| kept.updated_ms == updated_ms).map(|kept| Arc::clone(&kept.instance))
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
    async fn a_half_that_cannot_work_spoils_no_other() {
        let settings = DataSourceSettings {
            json_data: r#"{"sidecar":{"address":"nowhere"},"postgres":{"host":"h","database":2024,"user":"u"}}"#.into(),
            ..DataSourceSettings::default()
        };
        let instance = Instance::new(&settings).unwrap();
        assert!(instance.sidecar().unwrap_err().message.contains("expected http://host:8815"));
        assert!(instance.postgres().is_ok());
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
    async fn nobody_waits_while_another_instance_is_made() {
        let instances = Instances::default();
        let mut meanwhile = None;
        let slow = instances
            .of_made_by(&request("a", 1), |settings| {
                assert!(instances.kept.try_lock().is_ok(), "the lock is held while an instance is made");
                meanwhile = Some(instances.of(&request("a", 1))?);
                Instance::new(settings)
            })
            .unwrap();
        assert!(Arc::ptr_eq(&slow, &meanwhile.unwrap()), "two instances of one datasource are in use");
    }

    #[tokio::test]
    async fn changed_settings_replace_their_own_instance_and_no_other() {
        let instances = Instances::default();
        let uids: Vec<String> = (0..MAX_INSTANCES).map(|uid| uid.to_string()).collect();
        let first = instances.of(&request(&uids[0], 1)).unwrap();
        for uid in &uids {
            instances.of(&request(uid, 1)).unwrap();
        }
        instances.of(&request(&uids[7], 2)).unwrap();
        assert!(Arc::ptr_eq(&first, &instances.of(&request(&uids[0], 1)).unwrap()));
    }

    #[tokio::test]
    async fn no_secret_is_in_what_is_printed() {
        let mut request = request("a", 1);
        let settings = request.plugin.data_source.as_mut().unwrap();
        settings.json_data = r#"{"sidecar":{"address":"http://127.0.0.1:8815"},
            "postgres":{"host":"localhost","database":"d","user":"u","sslmode":"disable"}}"#
            .into();
        let secrets = ["sidecarToken", "postgresPassword", "postgresTlsClientCert", "postgresTlsClientKey"];
        settings.secrets = secrets.into_iter().map(|name| (name, "hunter2")).collect();
        let instance = Instances::default().of(&request).unwrap();
        assert!(instance.configured_sidecar().unwrap().is_some() && instance.configured_postgres().unwrap().is_some());
        let printed = format!("{instance:?} {:#?}", instance.postgres().unwrap());
        assert!(!printed.contains("hunter2"), "{printed}");
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
