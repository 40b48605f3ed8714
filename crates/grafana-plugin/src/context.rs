//! On whose behalf a request comes: the organisation, the user, the data source's settings, the headers.
//!
//! Every request carries all of it, so a plugin keeps no session; what is dear to build is cached on the settings' `uid`
//! and `updated_ms`. Nothing here fails: an absent user, an unknown role or empty settings are facts, not errors.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::headers::Headers;
use crate::proto::pluginv2 as wire;

/// Everything about a request that is not the question itself.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// The plugin, the user and the settings.
    pub plugin: PluginContext,
    /// What Grafana forwards of the HTTP request.
    pub headers: Headers,
    /// The W3C `traceparent` of the call, when Grafana traces.
    pub trace_parent: Option<String>,
}

impl RequestContext {
    /// The data source's settings.
    ///
    /// # Errors
    /// When the request is not made for a data source.
    pub fn data_source(&self) -> Result<&DataSourceSettings, MissingSettings> {
        self.plugin.data_source.as_ref().ok_or(MissingSettings)
    }

    pub(crate) fn from_wire(
        plugin: Option<wire::PluginContext>,
        headers: Headers,
        metadata: &tonic::metadata::MetadataMap,
    ) -> Self {
        let trace_parent = metadata.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { plugin: plugin.map(PluginContext::from_wire).unwrap_or_default(), headers, trace_parent }
    }
}

/// A request that needs a data source came without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request carries no data source settings")]
pub struct MissingSettings;

/// The plugin, the user and the settings a request is made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginContext {
    /// The organisation in Grafana.
    pub org_id: i64,
    /// The plugin's id, as in its `plugin.json`.
    pub plugin_id: String,
    /// The plugin's version, as Grafana read it.
    pub plugin_version: String,
    /// Who asks; `None` when Grafana itself does, as for an alert rule.
    pub user: Option<User>,
    /// The data source that is asked; `None` for requests made to the plugin as such.
    pub data_source: Option<DataSourceSettings>,
    /// The app that is asked; `None` but for plugins that are apps.
    pub app: Option<AppSettings>,
    /// What Grafana tells of its own configuration, such as `GF_SQL_ROW_LIMIT`.
    pub grafana_config: BTreeMap<String, String>,
    /// The user agent of the Grafana server.
    pub user_agent: String,
    /// The API version of the request.
    pub api_version: String,
    /// Grafana's namespace.
    pub namespace: String,
}

impl PluginContext {
    fn from_wire(wire: wire::PluginContext) -> Self {
        Self {
            org_id: wire.org_id,
            plugin_id: wire.plugin_id,
            plugin_version: wire.plugin_version,
            user: wire.user.map(User::from_wire),
            data_source: wire.data_source_instance_settings.map(DataSourceSettings::from_wire),
            app: wire.app_instance_settings.map(AppSettings::from_wire),
            grafana_config: wire.grafana_config.into_iter().collect(),
            user_agent: wire.user_agent,
            api_version: wire.api_version,
            namespace: wire.namespace,
        }
    }

    pub(crate) fn to_wire(&self) -> wire::PluginContext {
        wire::PluginContext {
            org_id: self.org_id,
            plugin_id: self.plugin_id.clone(),
            user: self.user.as_ref().map(User::to_wire),
            app_instance_settings: self.app.as_ref().map(AppSettings::to_wire),
            data_source_instance_settings: self.data_source.as_ref().map(DataSourceSettings::to_wire),
            grafana_config: self.grafana_config.clone().into_iter().collect(),
            plugin_version: self.plugin_version.clone(),
            user_agent: self.user_agent.clone(),
            api_version: self.api_version.clone(),
            namespace: self.namespace.clone(),
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub login: String,
    /// The display name.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// The role in the organisation.
    pub role: Role,
}

impl User {
    fn from_wire(wire: wire::User) -> Self {
        Self { login: wire.login, name: wire.name, email: wire.email, role: Role::from(wire.role) }
    }

    fn to_wire(&self) -> wire::User {
        wire::User {
            login: self.login.clone(),
            name: self.name.clone(),
            email: self.email.clone(),
            role: self.role.as_str().to_owned(),
        }
    }
}

/// A user's role. Grafana sends it verbatim, and any text is one: what is not known stays in [`Role::Other`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `None`: a user without any role in the organisation.
    None,
    /// `Viewer`.
    Viewer,
    /// `Editor`.
    Editor,
    /// `Admin` of the organisation.
    Admin,
    /// `Grafana Admin`, of the whole server.
    GrafanaAdmin,
    /// Any other text, the empty one too.
    Other(String),
}

impl Role {
    /// The text as Grafana writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::None => "None",
            Self::Viewer => "Viewer",
            Self::Editor => "Editor",
            Self::Admin => "Admin",
            Self::GrafanaAdmin => "Grafana Admin",
            Self::Other(text) => text,
        }
    }
}

impl Default for Role {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl From<String> for Role {
    fn from(text: String) -> Self {
        match text.as_str() {
            "None" => Self::None,
            "Viewer" => Self::Viewer,
            "Editor" => Self::Editor,
            "Admin" => Self::Admin,
            "Grafana Admin" => Self::GrafanaAdmin,
            _ => Self::Other(text),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A data source as it is configured in Grafana.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataSourceSettings {
    /// Grafana's internal number of it.
    pub id: i64,
    /// Its identity, stable across renames.
    pub uid: String,
    /// Its display name.
    pub name: String,
    /// The URL field, when the plugin uses it.
    pub url: String,
    /// The user field, when the plugin uses it.
    pub user: String,
    /// The database field, when the plugin uses it.
    pub database: String,
    /// Whether basic authentication is on.
    pub basic_auth: bool,
    /// The user of basic authentication.
    pub basic_auth_user: String,
    /// The plugin's own settings, a JSON object.
    pub json_data: Bytes,
    /// The plugin's own secrets, decrypted.
    pub secrets: Secrets,
    /// When the settings last changed, in milliseconds since the epoch. With `uid`, the key of a cache.
    pub updated_ms: i64,
    /// The API version the settings were saved with.
    pub api_version: String,
}

impl DataSourceSettings {
    /// Reads [`json_data`](Self::json_data). Nothing saved yet counts as `{}`.
    ///
    /// # Errors
    /// When the settings are not of the shape `T`.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let json: &[u8] = if self.json_data.is_empty() { b"{}" } else { &self.json_data };
        serde_json::from_slice(json)
    }

    fn from_wire(wire: wire::DataSourceInstanceSettings) -> Self {
        Self {
            id: wire.id,
            uid: wire.uid,
            name: wire.name,
            url: wire.url,
            user: wire.user,
            database: wire.database,
            basic_auth: wire.basic_auth_enabled,
            basic_auth_user: wire.basic_auth_user,
            json_data: wire.json_data,
            secrets: wire.decrypted_secure_json_data.into_iter().collect(),
            updated_ms: wire.last_updated_ms,
            api_version: wire.api_version,
        }
    }

    fn to_wire(&self) -> wire::DataSourceInstanceSettings {
        wire::DataSourceInstanceSettings {
            id: self.id,
            uid: self.uid.clone(),
            name: self.name.clone(),
            url: self.url.clone(),
            user: self.user.clone(),
            database: self.database.clone(),
            basic_auth_enabled: self.basic_auth,
            basic_auth_user: self.basic_auth_user.clone(),
            json_data: self.json_data.clone(),
            decrypted_secure_json_data: self.secrets.values.clone().into_iter().collect(),
            last_updated_ms: self.updated_ms,
            api_version: self.api_version.clone(),
        }
    }
}

/// An app as it is configured in Grafana.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppSettings {
    /// The app's own settings, a JSON object.
    pub json_data: Bytes,
    /// The app's own secrets, decrypted.
    pub secrets: Secrets,
    /// When the settings last changed, in milliseconds since the epoch.
    pub updated_ms: i64,
    /// The API version the settings were saved with.
    pub api_version: String,
}

impl AppSettings {
    fn from_wire(wire: wire::AppInstanceSettings) -> Self {
        Self {
            json_data: wire.json_data,
            secrets: wire.decrypted_secure_json_data.into_iter().collect(),
            updated_ms: wire.last_updated_ms,
            api_version: wire.api_version,
        }
    }

    fn to_wire(&self) -> wire::AppInstanceSettings {
        wire::AppInstanceSettings {
            json_data: self.json_data.clone(),
            decrypted_secure_json_data: self.secrets.values.clone().into_iter().collect(),
            last_updated_ms: self.updated_ms,
            api_version: self.api_version.clone(),
        }
    }
}

/// Decrypted secrets by name. A secret leaves only through [`get`](Secrets::get): there is no way to display, debug or
/// serialize one by accident.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    values: BTreeMap<String, String>,
}

impl Secrets {
    /// One secret; `None` when it is absent or empty, which Grafana's forms do not tell apart.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The names of the secrets that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self { values: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_role_and_comes_back_verbatim() {
        for (text, role) in [
            ("None", Role::None),
            ("Viewer", Role::Viewer),
            ("Editor", Role::Editor),
            ("Admin", Role::Admin),
            ("Grafana Admin", Role::GrafanaAdmin),
            ("", Role::Other(String::new())),
            ("admin", Role::Other("admin".into())),
        ] {
            let parsed = Role::from(text.to_owned());
            assert_eq!(parsed, role);
            assert_eq!(parsed.as_str(), text);
        }
    }

    #[test]
    fn secrets_show_their_names_and_never_their_values() {
        let secrets: Secrets = [("password", "hunter2"), ("token", "")].into_iter().collect();
        assert_eq!(secrets.get("password"), Some("hunter2"));
        assert_eq!(secrets.get("token"), None, "an empty secret is no secret");
        let settings = DataSourceSettings { secrets, ..DataSourceSettings::default() };
        let context = RequestContext {
            plugin: PluginContext { data_source: Some(settings), ..PluginContext::default() },
            headers: [("http_Authorization", "Bearer hunter2"), ("http_Cookie", "s=hunter2")].into_iter().collect(),
            trace_parent: None,
        };
        for shown in [format!("{context:?}"), format!("{context:#?}")] {
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("password"), "{shown}");
        }
    }

    #[test]
    fn a_context_survives_the_wire() {
        let context = PluginContext {
            org_id: 7,
            plugin_id: "id".into(),
            plugin_version: "1.2.3".into(),
            user: Some(User { login: "l".into(), name: "n".into(), email: "e".into(), role: Role::None }),
            data_source: Some(DataSourceSettings {
                id: 3,
                uid: "u".into(),
                name: "n".into(),
                url: "http://x".into(),
                user: "bob".into(),
                database: "db".into(),
                basic_auth: true,
                basic_auth_user: "b".into(),
                json_data: Bytes::from_static(b"{\"a\":1}"),
                secrets: [("k", "v")].into_iter().collect(),
                updated_ms: i64::MAX,
                api_version: "v0".into(),
            }),
            app: Some(AppSettings {
                json_data: Bytes::from_static(b"{}"),
                secrets: [("k", "v")].into_iter().collect(),
                updated_ms: -1,
                api_version: "v0".into(),
            }),
            grafana_config: BTreeMap::from([("GF_SQL_ROW_LIMIT".into(), "1".into())]),
            user_agent: "Grafana/12.4.0".into(),
            api_version: "v1".into(),
            namespace: "default".into(),
        };
        assert_eq!(PluginContext::from_wire(context.to_wire()), context);
        assert_eq!(PluginContext::from_wire(PluginContext::default().to_wire()), PluginContext::default());
    }

    #[test]
    fn settings_that_were_never_saved_are_an_empty_object() {
        let settings = DataSourceSettings::default();
        assert_eq!(settings.parse::<BTreeMap<String, String>>().unwrap(), BTreeMap::new());
    }
}
