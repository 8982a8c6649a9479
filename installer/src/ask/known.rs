//! What the running system knows that questions offer: keyboard layouts, languages, and
//! which of them go with a country. Where its lists are missing, any name of the right form is taken.

use std::fs;

/// Where Debian keeps the lists.
const LAYOUTS: &str = "/usr/share/X11/xkb/rules/base.lst";
const LOCALES: &str = "/usr/share/i18n/SUPPORTED";
const ZONES: &str = "/usr/share/zoneinfo/zone.tab";

/// A country with more zones than this has no obvious one.
const FEW_ZONES: usize = 3;

/// The lists.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The layouts of keyboards, by their short names.
    pub layouts: Vec<String>,
    /// The languages, in UTF-8.
    pub locales: Vec<String>,
    /// Countries, in capital letters, with their time zones; the largest first.
    zones: Vec<(String, String)>,
}

impl Known {
    /// What this system knows.
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::from_lists(&read(LAYOUTS), &read(LOCALES), &read(ZONES))
    }

    fn from_lists(layouts: &str, locales: &str, zones: &str) -> Self {
        let section = layouts.split("\n! ").find_map(|section| section.strip_prefix("layout\n"));
        let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
        let utf8 = |line: &str| line.strip_suffix(" UTF-8").filter(|name| name.ends_with(".UTF-8")).map(str::to_owned);
        let zone = |line: &str| {
            let mut columns = line.split('\t');
            Some((columns.next().filter(|code| code.len() == 2)?.to_owned(), columns.nth(1)?.to_owned()))
        };
        Self {
            layouts: section.unwrap_or_default().lines().filter_map(first).filter(|name| name != "custom").collect(),
            locales: locales.lines().filter_map(utf8).collect(),
            zones: zones.lines().filter_map(zone).collect(),
        }
    }

    /// Whether `layout` exists.
    pub fn layout(&self, layout: String) -> Result<String, String> {
        if self.layouts.is_empty() || self.layouts.contains(&layout) {
            return Ok(layout);
        }
        Err("there is no such layout; ? lists them".to_owned())
    }

    /// Whether `locale` exists.
    pub fn locale(&self, locale: String) -> Result<String, String> {
        if self.locales.is_empty() || locale == "C.UTF-8" || self.locales.contains(&locale) {
            return Ok(locale);
        }
        match crate::nearest::nearest(&locale, self.locales.iter().map(String::as_str)) {
            Some(near) => Err(format!("there is no such language here; did you mean {near}?")),
            None => Err("there is no such language here; write it like en_GB.UTF-8".to_owned()),
        }
    }

    /// The language of most people with this keyboard.
    pub fn locale_for(&self, layout: &str) -> &str {
        let wanted = match layout {
            "gb" => "en_GB.UTF-8".to_owned(),
            _ => format!("{layout}_{}.UTF-8", layout.to_ascii_uppercase()),
        };
        self.locales.iter().find(|locale| **locale == wanted).map_or("C.UTF-8", String::as_str)
    }

    /// The time zone of most people with this keyboard. The American one is everybody's.
    pub fn zone_for(&self, layout: &str) -> &str {
        let country = layout.to_ascii_uppercase();
        let zones: Vec<&str> =
            self.zones.iter().filter(|(code, _)| *code == country).map(|(_, zone)| zone.as_str()).collect();
        zones.first().filter(|_| zones.len() <= FEW_ZONES).copied().unwrap_or("Etc/UTC")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A few lines of each list, as Debian 13 has them.
    pub(in crate::ask) fn known() -> Known {
        Known::from_lists(
            "! model\n  pc105           Generic 105-key PC\n\n! layout\n  us              English (US)\n  \
             de              German\n  gb              English (UK)\n  custom          A user-defined layout\n\n\
             ! variant\n  mac             de: German (Macintosh)\n",
            "de_DE.UTF-8 UTF-8\nde_DE ISO-8859-1\nen_GB.UTF-8 UTF-8\nen_US.UTF-8 UTF-8\nC.UTF-8 UTF-8\n",
            "# comment\nDE\t+5230+01322\tEurope/Berlin\tmost of Germany\nDE\t+4742+00841\tEurope/Busingen\n\
             GB\t+513030-0000731\tEurope/London\nUS\t+404251-0740023\tAmerica/New_York\nUS\t1\tAmerica/Detroit\n\
             US\t1\tAmerica/Boise\nUS\t1\tAmerica/Denver\n",
        )
    }

    #[test]
    fn the_lists_are_read() {
        let known = known();
        assert_eq!(known.layouts, ["us", "de", "gb"]);
        assert_eq!(known.locales, ["de_DE.UTF-8", "en_GB.UTF-8", "en_US.UTF-8", "C.UTF-8"]);
        assert!(known.layout("de".to_owned()).is_ok() && known.layout("mac".to_owned()).is_err());
        assert!(known.locale("de_DE.UTF-8".to_owned()).is_ok());
        assert!(known.locale("de_AT.UTF-8".to_owned()).unwrap_err().contains("de_DE.UTF-8"));
    }

    #[test]
    fn a_keyboard_tells_where_most_of_its_owners_live() {
        let known = known();
        let both = |layout| (known.locale_for(layout), known.zone_for(layout));
        assert_eq!(both("de"), ("de_DE.UTF-8", "Europe/Berlin"));
        assert_eq!(both("gb"), ("en_GB.UTF-8", "Europe/London"));
        assert_eq!(both("us"), ("C.UTF-8", "Etc/UTC"));
        assert_eq!(both("latam"), ("C.UTF-8", "Etc/UTC"));
    }

    #[test]
    fn without_lists_any_name_is_taken() {
        let none = Known::default();
        assert!(none.layout("de".to_owned()).is_ok() && none.locale("de_DE.UTF-8".to_owned()).is_ok());
        assert_eq!((none.locale_for("de"), none.zone_for("de")), ("C.UTF-8", "Etc/UTC"));
    }
}
