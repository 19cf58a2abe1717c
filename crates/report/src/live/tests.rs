//! The live display on a terminal of our own, and its lines as values.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::TermLike;

use super::*;
use monoship_core::event::{Level, Status, StepEnd, Task};

/// A terminal of a given size that keeps what it would show, scrollback included.
#[derive(Debug, Clone)]
struct Screen {
    size: Size,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Vec<char>>,
    columns: usize,
    row: usize,
    column: usize,
}

impl Screen {
    fn new(columns: usize, rows: usize) -> Self {
        let state = State { columns, ..State::default() };
        Self { size: Size { columns, rows }, state: Arc::new(Mutex::new(state)) }
    }

    fn text(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let lines = state.lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned());
        let mut lines: Vec<String> = lines.collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }
}

impl State {
    fn put(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '\n' => (self.row, self.column) = (self.row + 1, 0),
                '\r' => self.column = 0,
                c => {
                    // A terminal wraps only once there is something to put on the next line; indicatif counts on it.
                    if self.column == self.columns {
                        (self.row, self.column) = (self.row + 1, 0);
                    }
                    if self.lines.len() <= self.row {
                        self.lines.resize(self.row + 1, Vec::new());
                    }
                    let line = &mut self.lines[self.row];
                    if line.len() <= self.column {
                        line.resize(self.column + 1, ' ');
                    }
                    line[self.column] = c;
                    self.column += 1;
                }
            }
        }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        u16::try_from(self.size.columns).unwrap()
    }
    fn height(&self) -> u16 {
        u16::try_from(self.size.rows).unwrap()
    }
    fn move_cursor_up(&self, n: usize) -> std::io::Result<()> {
        self.with(|state| state.row -= n);
        Ok(())
    }
    fn move_cursor_down(&self, n: usize) -> std::io::Result<()> {
        self.with(|state| state.row += n);
        Ok(())
    }
    fn move_cursor_right(&self, n: usize) -> std::io::Result<()> {
        self.with(|state| state.column += n);
        Ok(())
    }
    fn move_cursor_left(&self, n: usize) -> std::io::Result<()> {
        self.with(|state| state.column -= n);
        Ok(())
    }
    fn write_line(&self, s: &str) -> std::io::Result<()> {
        self.with(|state| state.put(&format!("{s}\n")));
        Ok(())
    }
    fn write_str(&self, s: &str) -> std::io::Result<()> {
        self.with(|state| state.put(s));
        Ok(())
    }
    fn clear_line(&self) -> std::io::Result<()> {
        self.with(|state| {
            state.column = 0;
            if let Some(line) = state.lines.get_mut(state.row) {
                line.clear();
            }
        });
        Ok(())
    }
    fn flush(&self) -> std::io::Result<()> {
        Ok(())
    }
}

fn service(name: &str) -> Task {
    Task::Service(name.parse().unwrap())
}

fn started(name: &str) -> Event {
    Event::Started { task: service(name), title: format!("building apps/{name}") }
}

fn board(now: Instant) -> Board {
    let mut board = Board::default();
    board.event(now, &started("api"));
    board.event(now, &started("web"));
    let step = "[api-build 2/4] RUN pnpm --filter api exec tsc --project tsconfig.build.json".to_owned();
    let cached = StepEnd::Cached;
    let (task, name) = (service("api"), "[deps 1/2] COPY".to_owned());
    board.event(now, &Event::StepEnded { task, name, end: cached, took: Duration::ZERO, cached: 1, total: 14 });
    board.event(now, &Event::StepStarted { task: service("api"), name: "[api-deps 2/2] RUN pnpm install".to_owned() });
    board.event(now, &Event::StepStarted { task: service("api"), name: step });
    board.event(now, &Event::Doing { task: service("web"), what: "pulling node:24".to_owned() });
    board.event(now, &Event::Amount { task: service("web"), done: 12_300_000, total: 45_600_000 });
    board
}

fn drawn(columns: usize, rows: usize) -> Vec<String> {
    let now = Instant::now();
    let lines = lines(&board(now), Size { columns, rows }, 9, "⠋", Paint::PLAIN, now + Duration::from_millis(12_340));
    assert!(lines.iter().all(|line| text::width(line) < columns), "{lines:#?}");
    lines
}

#[test]
fn each_running_task_has_one_line_with_its_step_its_counts_and_its_time() {
    assert_eq!(
        drawn(80, 24),
        [
            "⠋ api       [api-build 2/4] RUN pnpm --filter api exec t… 1/14, 1 cached  12.3s",
            "⠋ web       pulling node:24 12.3 MB of 45.6 MB                            12.3s",
        ]
    );
}

#[test]
fn a_narrow_terminal_loses_the_counts_then_the_step_and_never_wraps() {
    assert_eq!(
        drawn(48, 24),
        ["⠋ api       [api-build 2/4] RUN pnpm -…   12.3s", "⠋ web       pulling node:24 12.3 MB of…   12.3s"]
    );
    assert_eq!(drawn(20, 24), ["⠋ api      ", "⠋ web      "]);
    for columns in 1..60 {
        drawn(columns, 24);
    }
}

#[test]
fn a_low_terminal_shows_as_many_tasks_as_fit() {
    let now = Instant::now();
    let mut board = Board::default();
    (0..10).for_each(|n| drop(board.event(now, &started(&format!("s{n}")))));
    let lines = lines(&board, Size { columns: 80, rows: 5 }, 9, "⠋", Paint::PLAIN, now);
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[3], "  … and 7 more");
}

#[test]
fn what_is_over_scrolls_away_above_and_nothing_of_the_display_is_left_at_the_end() {
    let screen = Screen::new(80, 10);
    let size = screen.size;
    let mut live =
        Live::on(ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 255), Paint::PLAIN, Box::new(move || size));
    let now = Instant::now();
    live.event(now, started("api"));
    live.event(now, started("web"));
    live.tick(now);
    std::thread::sleep(Duration::from_millis(20));
    live.tick(now);
    assert_eq!(screen.text().len(), 2, "{:#?}", screen.text());
    assert!(screen.text()[1].contains("building apps/web"));
    let took = Duration::from_millis(3_210);
    live.event(now, Event::Ended { task: service("api"), status: Status::Built, took, digest: None });
    let (message, hint) = ("the cache is read-only".to_owned(), Some("ask for a token".to_owned()));
    live.event(now, Event::Notice { level: Level::Warning, task: None, message, hint });
    std::thread::sleep(Duration::from_millis(20));
    live.tick(now);
    let text = screen.text();
    assert_eq!(text[..3], ["✓ api       built in 3.2s", "warning: the cache is read-only", "hint: ask for a token"]);
    assert!(text[3].contains("web") && text.len() == 4, "{text:#?}");
    live.event(now, Event::Ended { task: service("web"), status: Status::Failed, took, digest: None });
    live.finish(now);
    assert_eq!(screen.text()[3..], ["✗ web       failed after 3.2s"]);
}
