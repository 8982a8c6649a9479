//! Network adapters that Linux sees and cannot use: without a driver, or without the firmware
//! that their driver loads into them. Of most of them there is no network card at all, and
//! without this they would be missed in silence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clean::present;

/// A network adapter that does not work, or may not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Adapter {
    /// Where it is, as the kernel names the place on its bus.
    pub place: String,
    /// Maker and model as the numbers that identify them, `8086:2725`.
    pub id: String,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The kernel driver that took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The network card that came of it all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// The files of firmware that the driver asked for in vain, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firmware: Vec<String>,
}

/// What sysfs and udev say of one adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct RawAdapter {
    /// Maker and model.
    pub id: String,
    /// udev's `ID_MODEL_FROM_DATABASE`, or what the device says of itself.
    pub name: Option<String>,
    /// The name of its driver.
    pub driver: Option<String>,
    /// The network card that lies below it.
    pub card: Option<String>,
    /// Whether its class says that it is for networks; of others nobody can tell.
    pub network: bool,
}

impl Adapter {
    /// What is the matter with it, for people: what matters most comes first, as lines are cut.
    pub fn told(&self) -> String {
        let matter = match (self.firmware.as_slice(), &self.driver) {
            ([], None) => "has no driver in this Linux".to_owned(),
            ([], Some(driver)) => format!("is no network card to its driver {driver}"),
            ([first], _) => format!("lacks firmware {first}"),
            ([first, rest @ ..], _) => format!("lacks firmware {first} or {} more", rest.len()),
        };
        let card = self.card.as_ref().map(|card| format!("; {card} may not work without"));
        let name = self.name.as_ref().map(|name| format!(" ({name})"));
        format!("{} at {} {matter}{}{}", self.id, self.place, card.unwrap_or_default(), name.unwrap_or_default())
    }
}

/// The adapters of `raw` that do not work. `log` is what the kernel said of firmware.
pub(super) fn adapters(raw: &BTreeMap<String, RawAdapter>, log: &str) -> Vec<Adapter> {
    let missing = missing(log);
    let of = |place: &str| -> Vec<String> {
        // On USB a driver speaks for one interface of the device: 1-2:1.0.
        let is = |device: &str| device == place || device.split_once(':').is_some_and(|(first, _)| first == place);
        missing.iter().filter(|(device, _)| is(device)).map(|(_, file)| file.clone()).collect()
    };
    let found = raw.iter().map(|(place, raw)| {
        let adapter = Adapter {
            place: place.clone(),
            id: raw.id.clone(),
            name: raw.name.as_deref().and_then(present),
            driver: raw.driver.clone(),
            card: raw.card.clone(),
            firmware: of(place),
        };
        (adapter, raw.network)
    });
    let broken = found.filter(|(adapter, network)| {
        let idle = adapter.card.is_none() && (*network || adapter.driver.is_none());
        idle || !adapter.firmware.is_empty()
    });
    broken.map(|(adapter, _)| adapter).collect()
}

/// Which device asked in vain for which file, each pair once. A device that got another one
/// instead, as those do that ask for the newest first, lacks nothing.
fn missing(log: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in log.lines() {
        // "iwlwifi 0000:02:00.0: firmware: failed to load NAME (-2)" is Debian's line, the others are the kernel's own.
        let after = |words: &str| {
            let (left, right) = line.split_once(words)?;
            Some((left.split_whitespace().next_back()?.to_owned(), right.split([' ', '\n']).next()?.to_owned()))
        };
        let failed = after(": firmware: failed to load ").or_else(|| after(": Direct firmware load for "));
        if let Some(pair) = failed {
            if !out.contains(&pair) {
                out.push(pair);
            }
        } else if let Some((device, _)) =
            after(": firmware: direct-loading firmware ").or_else(|| after(": loaded firmware "))
        {
            out.retain(|(other, _)| *other != device);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::zoo;

    #[test]
    fn what_is_the_matter_with_each() {
        let told: Vec<String> = zoo::facts("no-network").adapters.iter().map(Adapter::told).collect();
        assert_eq!(
            told,
            [
                "8086:2725 at 0000:02:00.0 lacks firmware iwlwifi-ty-a0-gf-a0-89.ucode or 2 more (Wi-Fi 6E(802.11ax) \
                 AX210/AX1675* 2x2 [Typhoon Peak])",
                "14e4:16d8 at 0000:03:00.0 has no driver in this Linux (BCM57416 NetXtreme-E Dual-Media 10G RDMA \
                 Ethernet Controller)",
                "0bda:c811 at 1-2 has no driver in this Linux (802.11ac NIC)",
                "148f:7601 at 1-3 lacks firmware mt7601u.bin (MT7601U)",
            ]
        );
        assert_eq!(zoo::facts("mini-pc").adapters, []);
    }

    #[test]
    fn one_that_found_other_firmware_lacks_none() {
        let log = "iwlwifi 0000:02:00.0: firmware: failed to load iwlwifi-9.ucode (-2)\n\
                   iwlwifi 0000:02:00.0: Direct firmware load for iwlwifi-9.ucode failed with error -2\n\
                   r8169 0000:01:00.0: firmware: failed to load rtl_nic/rtl8125b-2.fw (-2)\n";
        let pair = |device: &str, file: &str| (device.to_owned(), file.to_owned());
        let other = pair("0000:01:00.0", "rtl_nic/rtl8125b-2.fw");
        assert_eq!(missing(log), [pair("0000:02:00.0", "iwlwifi-9.ucode"), other.clone()]);
        let log = format!("{log}iwlwifi 0000:02:00.0: firmware: direct-loading firmware iwlwifi-8.ucode\n");
        assert_eq!(missing(&log), [other]);
        // The card is there and may do without: it is told, and told apart.
        let raw = RawAdapter {
            id: "10ec:8125".to_owned(),
            card: Some("enp1s0".to_owned()),
            network: true,
            ..RawAdapter::default()
        };
        let found = adapters(&BTreeMap::from([("0000:01:00.0".to_owned(), raw)]), &log);
        assert!(found[0].told().ends_with("rtl8125b-2.fw; enp1s0 may not work without"), "{found:?}");
    }

    #[test]
    fn a_device_of_another_kind_is_no_adapter() {
        let raw = |driver: Option<&str>| RawAdapter { driver: driver.map(str::to_owned), ..RawAdapter::default() };
        let all = BTreeMap::from([("1-4".to_owned(), raw(Some("ftdi_sio"))), ("1-5".to_owned(), raw(None))]);
        let found: Vec<String> = adapters(&all, "").into_iter().map(|adapter| adapter.place).collect();
        assert_eq!(found, ["1-5"], "what no driver knows may be one");
    }
}
