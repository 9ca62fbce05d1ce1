//! Every setting: its name, unit, default and the reason for it.
//!
//! Owns: the sections and their defaults (`sections`, `database`, `admin`), the layering of command
//! line, environment and file ([`Sources`]; `reading` reads a file's text, `environment` the
//! variables), the ranges (`validate`), the default file that `announced config` prints
//! ([`default_file`]), and the value that a running tracker works by ([`Live`]).
//!
//! Never does: act on a setting, open a socket or a database, log. The one file it reads is the one
//! it is told to; when none is named, none is read.
//!
//! Limits: a settings file of [`FILE_BYTES_MAX`] bytes. [`Config::validate`] holds every value to a
//! stated range, so what comes out of [`Sources::load`] needs no second check further down.

mod admin;
mod database;
mod database_url;
mod duration;
mod environment;
mod limits;
mod live;
mod networks;
mod reading;
mod reload;
mod render;
mod sections;
mod source;
mod validate;
mod value;

pub use admin::AdminConfig;
pub use database::DatabaseConfig;
pub use database_url::{DatabaseUrl, redact};
pub use environment::Environment;
pub use limits::{LimitsConfig, NoRate, Rate, RatePeriod, RateSetting};
pub use live::{
    ConnectionTimes, FullScrapePolicy, Index, Live, LiveReader, LiveSettings, Policy, ProxyPolicy,
    PublicAddresses, RateLimits, RegistryPace, SwarmLimits, UNSET_MAX, millis,
};
pub use networks::{NETWORKS_FILE_BYTES_MAX, Networks, NetworksSetting};
pub use reload::Reload;
pub use render::{KeyManual, SectionManual, default_file, manual};
pub use sections::{Config, PORT_DEFAULT, ServerConfig, TrackerConfig, UdpConfig};
pub use source::{FILE_BYTES_MAX, Flags, Sources, read_settings};
pub use validate::Problem;
pub use value::{
    FullScrape, Listen, LogLevel, Mode, UdpListen, UnknownMode, WrongListen, listen_address,
};
