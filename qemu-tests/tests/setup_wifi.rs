//! A machine whose only network is a Wi-Fi, of which the answer file tells. The kernel plays the radios
//! (`mac80211_hwsim`): one is the machine's, the other an access point in a network namespace of its own.

use std::time::Duration;

use anyhow::ensure;
use hearth::units::Bytes;
use hearth_image::qemu::base64;
use hearth_qemu_tests::answered::{SET_UP, answers};
use hearth_qemu_tests::appliance::{SERIAL, image_on_disk, runs_from_disk};
use hearth_qemu_tests::{Drive, scenario};

const SHARE: Duration = Duration::from_secs(300);

/// What a person types at home, quotes and hashes included.
const PASSPHRASE: &str = r#"quo"ted #hash"#;

/// The radios and the access point, there before Hearth looks at the machine's cards.
const RADIOS: &str = r"[Unit]
DefaultDependencies=no
After=systemd-modules-load.service systemd-udevd.service local-fs.target
Before=network-pre.target hearth-setup-unattended.service hearth-setup.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'modprobe mac80211_hwsim radios=2; \
    phy=$(basename $(readlink -f /sys/class/net/wlan1/phy80211)); ip netns add ap; iw phy $phy set netns name ap; \
    echo CONFIGURATION | base64 -d >/run/ap.conf; \
    ip netns exec ap wpa_supplicant -B -i wlan1 -c /run/ap.conf'
";

/// The access point's own. It begins at once, without looking for others (`ap_scan`).
fn access_point() -> String {
    format!(
        "ap_scan=2\np2p_disabled=1\ncountry=DE\nnetwork={{\n\tssid=\"Home\"\n\tmode=2\n\tfrequency=2412\n\t\
         key_mgmt=WPA-PSK\n\tpairwise=CCMP\n\tpsk={KEY}\n}}\n"
    )
}

#[test]
fn an_answer_file_joins_the_wifi() {
    scenario("setup-wifi", SHARE, |lab| {
        let (_, public) = lab.ssh_key("admin")?;
        let wifi = format!("[network.wifi]\nssid = \"Home\"\npassphrase = '{PASSPHRASE}'\ncountry = \"DE\"\n");
        let disk = image_on_disk(lab, Bytes::gib(16))?;
        let vm = lab
            .vm("main")
            .drive(Drive::served(&disk).serial(SERIAL).boots(0))
            .credential(
                "systemd.extra-unit.radios.service",
                RADIOS.replace("CONFIGURATION", &base64::encode(access_point().as_bytes())),
            )
            .credential("systemd.unit-dropin.basic.target", "[Unit]\nWants=radios.service\n")
            .credential("hearth.answers", answers("attic", &public, "", &wifi))
            .start()?;
        lab.step("set up", || vm.wait_for_text(SET_UP, lab.patience(400)))?;
        runs_from_disk(lab, &vm)?;
        lab.step("joined", || {
            let joined = "until wpa_cli -i wlan0 status | grep -x wpa_state=COMPLETED; do sleep 1; done; wpa_cli -i wlan0 status";
            let status = vm.root_sh(joined, lab.patience(60))?.ok()?;
            ensure!(status.contains("ssid=Home"), "it joined another network: {status}");
            let file = vm.root_sh("stat -c '%u %a' /etc/wpa_supplicant/wpa_supplicant-wlan0.conf", lab.patience(10))?.ok()?;
            ensure!(file == "0 600", "others can read the passphrase: {file}");
            vm.root_sh("networkctl status wlan0 | grep -q 20-hearth", lab.patience(10))?.ok().map(drop)
        })
    });
}

/// The key of WPA2 that follows from the passphrase and the name, as `wpa_passphrase Home` prints it.
const KEY: &str = "b13d00ca69029c8288a0cf51dc0bead7609105a6e07143c9f5e942769ef0412f";
