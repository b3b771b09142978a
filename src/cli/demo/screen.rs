//! A terminal that is redrawn in place, and given back as it was.

use std::io::{self, Stdout, Write};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    execute, queue,
    style::Print,
    terminal::{
        self, Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen,
    },
};

/// The terminal while it is ours. Dropping it, on whatever way out, restores it and leaves the last
/// frame behind, so that what was seen can be read after.
pub(super) struct Screen {
    out: Stdout,
    last_frame: String,
}

// Columns and rows of the classic terminal, for one that does not tell.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

fn size() -> (u16, u16) {
    terminal::size().unwrap_or(DEFAULT_SIZE)
}

// === impl Screen ===

impl Screen {
    /// Takes the terminal.
    pub(super) fn enter() -> io::Result<Self> {
        // Built first, so that a failure half way through is undone as well.
        let mut screen = Self { out: io::stdout(), last_frame: String::new() };
        execute!(screen.out, EnterAlternateScreen, Hide, DisableLineWrap)?;
        Ok(screen)
    }

    /// The columns of the terminal at present; it may be resized at any time.
    pub(super) fn width(&self) -> usize {
        size().0.into()
    }

    /// Shows a frame in place of the last. Each line clears its own rest, as clearing the whole screen
    /// first would flicker; lines below the terminal's last are not shown, as they would scroll it.
    pub(super) fn draw(&mut self, frame: String) -> io::Result<()> {
        let height = size().1;
        for (line, row) in frame.lines().zip(0..height) {
            queue!(self.out, MoveTo(0, row), Print(line), Clear(ClearType::UntilNewLine))?;
        }
        queue!(self.out, Clear(ClearType::FromCursorDown))?;
        self.last_frame = frame;
        self.out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring, and nobody is left to tell.
        let _ = execute!(self.out, EnableLineWrap, Show, LeaveAlternateScreen, Print(&self.last_frame));
    }
}
