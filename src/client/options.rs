//! The settings of a consumer, and `--consumer-opt name,value` that changes them.

use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::config::duration::parse_go_duration;
use crate::config::host;
use crate::config::version::SHOAL_VERSION;
use crate::http::duration::GoDuration;

/// How a consumer connects and consumes. The defaults are those of NSQ's own client.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// How long connecting may take.
    pub dial_timeout: Duration,
    /// How long an nsqd may be silent, heartbeats included.
    pub read_timeout: Duration,
    /// How long writing to an nsqd may be stuck.
    pub write_timeout: Duration,
    /// The address to connect from; any when absent.
    pub local_addr: Option<SocketAddr>,
    /// Time between two polls of nsqlookupd, and the longest pause before connecting again.
    pub lookupd_poll_interval: Duration,
    /// The part of the interval by which polls of several consumers are spread.
    pub lookupd_poll_jitter: f64,
    /// How long one poll may take.
    pub lookupd_poll_timeout: Duration,
    /// A message delivered more often is finished unseen; 0 is no limit.
    pub max_attempts: u16,
    /// With fewer messages in flight than connections: who gave none for so long makes room.
    pub low_rdy_idle_timeout: Duration,
    /// Likewise: nobody keeps its place for longer.
    pub low_rdy_timeout: Duration,
    /// Time between two looks at who has to make room.
    pub rdy_redistribute_interval: Duration,
    /// The name of this client, in the nsqd's statistics.
    pub client_id: String,
    /// The name of this host, likewise.
    pub hostname: String,
    /// The program, likewise.
    pub user_agent: String,
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Percentage of the messages that are wanted; 0 is all.
    pub sample_rate: u32,
    /// Bytes that the nsqd may collect before it sends.
    pub output_buffer_size: i64,
    /// Time for which the nsqd may collect.
    pub output_buffer_timeout: Duration,
    /// Messages in flight, over all connections of a subscription.
    pub max_in_flight: i64,
    /// How long the nsqd waits for the answer to a message; its default when zero.
    pub msg_timeout: Duration,
    /// What to authenticate with.
    pub auth_secret: String,
    /// Whether nsqlookupd is shown the secret, too.
    pub lookupd_authorization: bool,
    /// An option asked for that this client cannot do yet.
    pub unsupported: Option<&'static str>,
}

impl Default for ConsumerOptions {
    fn default() -> ConsumerOptions {
        let hostname = host::hostname();
        ConsumerOptions {
            dial_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(1),
            local_addr: None,
            lookupd_poll_interval: Duration::from_secs(60),
            lookupd_poll_jitter: 0.3,
            lookupd_poll_timeout: Duration::from_secs(60),
            max_attempts: 5,
            low_rdy_idle_timeout: Duration::from_secs(10),
            low_rdy_timeout: Duration::from_secs(30),
            rdy_redistribute_interval: Duration::from_secs(5),
            client_id: hostname.split('.').next().unwrap_or_default().to_owned(),
            hostname,
            user_agent: format!("shoal/{SHOAL_VERSION}"),
            heartbeat_interval: Duration::from_secs(30),
            sample_rate: 0,
            output_buffer_size: 16_384,
            output_buffer_timeout: Duration::from_millis(250),
            max_in_flight: 1,
            msg_timeout: Duration::ZERO,
            auth_secret: String::new(),
            lookupd_authorization: true,
            unsupported: None,
        }
    }
}

impl ConsumerOptions {
    /// Takes one `name,value`; without a value it is `true`. The error is what the user is told.
    pub fn set(&mut self, option: &str) -> Result<(), String> {
        let (name, text) = option.split_once(',').unwrap_or((option, "true"));
        let name = name.replace('-', "_");
        let value = Value { name: &name, text };
        match name.as_str() {
            "client_id" => self.client_id = text.to_owned(),
            "hostname" => self.hostname = text.to_owned(),
            "user_agent" => self.user_agent = text.to_owned(),
            "auth_secret" => self.auth_secret = text.to_owned(),
            // NSQ's client named it so; what it sets is whether the secret is sent.
            "skip_lookupd_authorization" => self.lookupd_authorization = value.flag()?,
            "lookupd_poll_jitter" => self.lookupd_poll_jitter = value.number(0.0..=1.0)?,
            "max_attempts" => self.max_attempts = value.number(0..=u16::MAX)?,
            "max_in_flight" => self.max_in_flight = value.number(0..=i64::MAX)?,
            "output_buffer_size" => self.output_buffer_size = value.number(i64::MIN..=i64::MAX)?,
            "sample_rate" => self.sample_rate = value.number(0..=99)?,
            "local_addr" => self.local_addr = Some(value.address()?),
            "deflate_level" => drop(value.number(1..=9)?),
            "backoff_strategy" => value.one_of(&["", "exponential", "full_jitter"])?,
            "tls_v1" | "deflate" | "snappy" => self.refuse_if(&value)?,
            "tls_insecure_skip_verify" => drop(value.flag()?),
            "tls_root_ca_file" | "tls_cert" | "tls_key" => {}
            "tls_min_version" => value.one_of(&["ssl3.0", "tls1.0", "tls1.1", "tls1.2"])?,
            _ => self.set_duration(&value)?,
        }
        Ok(())
    }

    fn set_duration(&mut self, value: &Value<'_>) -> Result<(), String> {
        const SECOND: Duration = Duration::from_secs(1);
        const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);
        const HOUR: Duration = Duration::from_secs(3600);
        let any = Duration::ZERO..=Duration::MAX;
        let socket = Duration::from_millis(100)..=FIVE_MINUTES;
        let poll = Duration::from_millis(10)..=FIVE_MINUTES;
        let redistribute = Duration::from_millis(1)..=Duration::from_secs(5);
        let low_rdy = SECOND..=FIVE_MINUTES;
        let requeue = Duration::ZERO..=HOUR;
        match value.name {
            "dial_timeout" => self.dial_timeout = value.duration(any)?,
            "read_timeout" => self.read_timeout = value.duration(socket)?,
            "write_timeout" => self.write_timeout = value.duration(socket)?,
            "lookupd_poll_interval" => self.lookupd_poll_interval = value.duration(poll)?,
            "lookupd_poll_timeout" => self.lookupd_poll_timeout = value.duration(any)?,
            "heartbeat_interval" => self.heartbeat_interval = value.duration(any)?,
            "output_buffer_timeout" => self.output_buffer_timeout = value.duration(any)?,
            "msg_timeout" => self.msg_timeout = value.duration(any)?,
            "low_rdy_idle_timeout" => self.low_rdy_idle_timeout = value.duration(low_rdy)?,
            "low_rdy_timeout" => self.low_rdy_timeout = value.duration(low_rdy)?,
            "rdy_redistribute_interval" => {
                self.rdy_redistribute_interval = value.duration(redistribute)?;
            }
            // Of use only to tools that hand messages back; taken, so that command lines go on
            // working.
            "max_requeue_delay"
            | "default_requeue_delay"
            | "max_backoff_duration"
            | "backoff_multiplier" => drop(value.duration(requeue)?),
            name => return Err(format!("invalid option {name}")),
        }
        Ok(())
    }

    fn refuse_if(&mut self, value: &Value<'_>) -> Result<(), String> {
        let names = ["tls_v1", "deflate", "snappy"];
        if value.flag()? {
            self.unsupported = names.into_iter().find(|&name| name == value.name);
        }
        Ok(())
    }

    /// Checks what one option alone cannot know.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(name) = self.unsupported {
            return Err(format!("{name} is not supported by this client yet"));
        }
        if self.max_in_flight < 0 {
            return Err(format!("invalid MaxInFlight ! {} < 0", self.max_in_flight));
        }
        if self.heartbeat_interval > self.read_timeout {
            let (beat, read) = (GoDuration(self.heartbeat_interval), GoDuration(self.read_timeout));
            return Err(format!("HeartbeatInterval {beat} must be less than ReadTimeout {read}"));
        }
        Ok(())
    }

    /// `max_in_flight` as RDY counts it.
    #[must_use]
    pub fn in_flight_max(&self) -> u32 {
        u32::try_from(self.max_in_flight.max(0)).unwrap_or(u32::MAX)
    }
}

/// One option as it was given.
struct Value<'a> {
    name: &'a str,
    text: &'a str,
}

impl Value<'_> {
    fn wrong(&self, why: impl Display) -> String {
        format!("failed to coerce option {} ({}) - {why}", self.name, self.text)
    }

    fn within<T: PartialOrd>(
        &self,
        value: T,
        range: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Result<T, String> {
        if value < *range.start() {
            let (value, min) = (show(&value), show(range.start()));
            return Err(format!("invalid {} ! {value} < {min}", self.name));
        }
        if value > *range.end() {
            let (value, max) = (show(&value), show(range.end()));
            return Err(format!("invalid {} ! {value} > {max}", self.name));
        }
        Ok(value)
    }

    fn number<T>(&self, range: RangeInclusive<T>) -> Result<T, String>
    where
        T: FromStr<Err: Display> + PartialOrd + Display,
    {
        let value = self.text.parse::<T>().map_err(|error| self.wrong(error))?;
        self.within(value, &range, T::to_string)
    }

    fn duration(&self, range: RangeInclusive<Duration>) -> Result<Duration, String> {
        let nanos = parse_go_duration(self.text).map_err(|error| self.wrong(error))?;
        // No option has a use for a negative one.
        let nanos = u64::try_from(nanos).map_err(|_| self.wrong("negative duration"))?;
        self.within(Duration::from_nanos(nanos), &range, |duration| {
            GoDuration(*duration).to_string()
        })
    }

    fn flag(&self) -> Result<bool, String> {
        match self.text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(self.wrong("invalid syntax")),
        }
    }

    fn one_of(&self, known: &[&str]) -> Result<(), String> {
        if known.contains(&self.text) { Ok(()) } else { Err(self.wrong("invalid value")) }
    }

    fn address(&self) -> Result<SocketAddr, String> {
        let mut found = self.text.to_socket_addrs().map_err(|error| self.wrong(error))?;
        found.next().ok_or_else(|| self.wrong("no such address"))
    }
}

#[cfg(test)]
mod tests {
    use super::ConsumerOptions;
    use std::time::Duration;

    fn refused(option: &str) -> String {
        ConsumerOptions::default().set(option).unwrap_err()
    }

    #[test]
    fn takes_names_with_dashes_and_flags_without_a_value() {
        let mut options = ConsumerOptions::default();
        options.set("msg-timeout,90s").unwrap();
        options.set("skip_lookupd_authorization,false").unwrap();
        options.set("client_id,a,b").unwrap();
        options.set("max_attempts,0").unwrap();
        assert_eq!(options.msg_timeout, Duration::from_secs(90));
        assert!(!options.lookupd_authorization);
        assert_eq!(options.client_id, "a,b");
        assert_eq!(options.max_attempts, 0);
        assert_eq!(options.validate(), Ok(()));
    }

    #[test]
    fn says_what_is_wrong_as_the_original_does() {
        assert_eq!(refused("foo,1"), "invalid option foo");
        assert_eq!(refused("sample_rate,100"), "invalid sample_rate ! 100 > 99");
        assert_eq!(refused("read_timeout,1ms"), "invalid read_timeout ! 1ms < 100ms");
        assert_eq!(
            refused("read_timeout,5"),
            "failed to coerce option read_timeout (5) - time: missing unit in duration \"5\""
        );
        for bad in ["deflate,maybe", "max_attempts,70000", "backoff_strategy,linear", "msg_timeout"]
        {
            assert!(refused(bad).starts_with("failed to coerce option "), "{bad}");
        }
    }

    #[test]
    fn every_option_of_the_original_is_taken() {
        let options = "dial_timeout,1s read_timeout,60s write_timeout,1s local_addr,127.0.0.1:0 \
            lookupd_poll_interval,60s lookupd_poll_jitter,0.3 lookupd_poll_timeout,1m \
            max_requeue_delay,15m default_requeue_delay,90s backoff_strategy,full_jitter \
            max_backoff_duration,2m backoff_multiplier,1s max_attempts,5 \
            rdy_redistribute_interval,5s client_id,x hostname,x user_agent,x \
            heartbeat_interval,30s sample_rate,1 tls_v1,false tls_root_ca_file,x tls_cert,x \
            tls_key,x tls_insecure_skip_verify tls_min_version,tls1.2 deflate,0 deflate_level,6 \
            snappy,f output_buffer_size,16384 output_buffer_timeout,250ms max_in_flight,1 \
            msg_timeout,0 auth_secret,x low_rdy_idle_timeout,10s low_rdy_timeout,30s";
        let mut taken = ConsumerOptions::default();
        for option in options.split_whitespace() {
            assert_eq!(taken.set(option), Ok(()), "{option}");
        }
        assert_eq!(taken.validate(), Ok(()));
    }

    #[test]
    fn what_cannot_be_done_or_does_not_fit_is_refused_before_connecting() {
        let mut options = ConsumerOptions::default();
        options.set("snappy").unwrap();
        assert_eq!(options.validate(), Err("snappy is not supported by this client yet".into()));
        let options = ConsumerOptions { max_in_flight: -1, ..ConsumerOptions::default() };
        assert_eq!(options.validate(), Err("invalid MaxInFlight ! -1 < 0".into()));
        let mut options = ConsumerOptions::default();
        options.set("heartbeat_interval,2m").unwrap();
        let text = "HeartbeatInterval 2m0s must be less than ReadTimeout 1m0s";
        assert_eq!(options.validate(), Err(text.into()));
    }
}
