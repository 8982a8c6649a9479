//! A big font on a big screen: at 3840 columns of pixels the kernel's font is too
//! small to read from a sofa.

use std::fs;
use std::io::IsTerminal as _;

use crate::run::Cmd;

/// A frame buffer wider than this gets the big font.
const WIDE: u32 = 2560;

/// Terminus of 16 by 32 pixels, from console-setup-linux; `setfont -d` doubles it.
const FONT: &str = "/usr/share/consolefonts/Lat15-Terminus32x16.psf.gz";

/// Makes the letters large if standard input is a screen that needs it. Never fails:
/// a small font is still a font.
pub(super) fn enlarge() {
    let width = fs::read_to_string("/sys/class/graphics/fb0/virtual_size").unwrap_or_default();
    let Some(screen) = screen().filter(|_| needs_it(&width)) else { return };
    // 32 by 64 pixels leave 120 columns on 3840; the plain one serves kernels without large fonts.
    let set = |args: &[&str]| {
        let set = Cmd::new("setting the font", "setfont").args(["-C", &screen]);
        set.args(args).succeeds().unwrap_or(false)
    };
    if !set(&["--double", FONT]) {
        set(&[FONT]);
    }
}

fn needs_it(virtual_size: &str) -> bool {
    virtual_size.trim().split(',').next().and_then(|width| width.parse().ok()).is_some_and(|width: u32| width > WIDE)
}

/// The screen's device node, if standard input is one of the screen's terminals.
fn screen() -> Option<String> {
    let name = fs::read_link("/proc/self/fd/0").ok()?.to_string_lossy().into_owned();
    let is_vt = name.strip_prefix("/dev/tty").is_some_and(|number| number.parse::<u8>().is_ok());
    (is_vt && std::io::stdin().is_terminal()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::needs_it;

    #[test]
    fn only_wide_screens() {
        assert!(needs_it("3840,2160\n"));
        assert!(!needs_it("2560,1440\n"));
        assert!(!needs_it("1024,768\n") && !needs_it("") && !needs_it("wide"));
    }
}
