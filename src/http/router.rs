//! Which endpoint a method and a path mean, and what to say when they mean none.
//!
//! One table decides everything: 404, 405 with `Allow`, the answer to `OPTIONS`, and where a path
//! with a wrong case, a slash too many or a `..` is sent instead.

use std::borrow::Cow;

use hyper::Method;
use matchit::Params;

/// One line of the table. Patterns have parameters in braces: `/config/{opt}`.
pub type Route<E> = (Method, &'static str, E);

/// The endpoints of one program.
#[derive(Debug)]
pub struct Router<E> {
    // The value is an index into `paths`.
    tree: matchit::Router<usize>,
    paths: Vec<Path<E>>,
}

#[derive(Debug)]
struct Path<E> {
    pattern: &'static str,
    methods: Vec<(Method, E)>,
}

/// What a method and a path mean.
#[derive(Debug)]
pub enum Found<'r, 'p, E> {
    /// An endpoint, and the parameters of its pattern.
    Endpoint(E, Params<'r, 'p>),
    /// Nothing, but this path (not escaped) would be an endpoint for the method.
    Elsewhere(String),
    /// `OPTIONS` on a path that exists, and its methods.
    Options(String),
    /// The path exists for these methods only.
    OtherMethods(String),
    /// There is no such path.
    Nothing,
}

impl<E: Copy> Router<E> {
    /// Builds the tables.
    ///
    /// # Panics
    /// When two patterns contradict each other: a mistake in the program's table.
    #[must_use]
    pub fn new(routes: &[Route<E>]) -> Router<E> {
        let mut router = Router { tree: matchit::Router::new(), paths: Vec::new() };
        for (method, pattern, endpoint) in routes {
            router.add(method.clone(), pattern, *endpoint);
        }
        router
    }

    fn add(&mut self, method: Method, pattern: &'static str, endpoint: E) {
        let known = self.paths.iter().position(|path| path.pattern == pattern);
        let index = known.unwrap_or_else(|| {
            let index = self.paths.len();
            self.tree.insert(pattern, index).expect("the table's patterns do not contradict");
            self.paths.push(Path { pattern, methods: Vec::new() });
            index
        });
        let methods = &mut self.paths[index].methods;
        assert!(methods.iter().all(|(known, _)| *known != method), "{method} {pattern} twice");
        methods.push((method, endpoint));
    }

    /// Looks up a path whose escapes are undone.
    #[must_use]
    pub fn find<'r, 'p>(&'r self, method: &Method, path: &'p str) -> Found<'r, 'p, E> {
        let Ok(found) = self.tree.at(path) else {
            return self.fixed(method, path).map_or(Found::Nothing, Found::Elsewhere);
        };
        let methods = &self.paths[*found.value].methods;
        if let Some((_, endpoint)) = methods.iter().find(|(known, _)| known == method) {
            return Found::Endpoint(*endpoint, found.params);
        }
        let allow = allow(methods);
        if method == Method::OPTIONS { Found::Options(allow) } else { Found::OtherMethods(allow) }
    }

    /// The path that was probably meant, when it exists for this method.
    fn fixed(&self, method: &Method, path: &str) -> Option<String> {
        if method == Method::CONNECT {
            return None;
        }
        let clean = clean(path);
        let other = clean.strip_suffix('/').map_or_else(|| format!("{clean}/"), str::to_owned);
        let of_method = |path: &&Path<E>| path.methods.iter().any(|(known, _)| known == method);
        [clean, Cow::Owned(other)].iter().find_map(|path| {
            self.paths.iter().filter(of_method).find_map(|known| fit(known.pattern, path))
        })
    }
}

/// The methods of a path as `Allow` lists them: sorted, `OPTIONS` included.
fn allow<E>(methods: &[(Method, E)]) -> String {
    let mut names: Vec<&str> = methods.iter().map(|(method, _)| method.as_str()).collect();
    names.push("OPTIONS");
    names.sort_unstable();
    names.join(", ")
}

/// The path that `pattern` stands for when `path` fits it but for its case.
fn fit(pattern: &str, path: &str) -> Option<String> {
    let (pattern, path) = (pattern.split('/'), path.split('/'));
    let mut fitted = Vec::new();
    let mut rest = path;
    for expected in pattern {
        let segment = rest.next()?;
        let parameter = expected.starts_with('{') && !segment.is_empty();
        if !parameter && !segment.eq_ignore_ascii_case(expected) {
            return None;
        }
        fitted.push(if parameter { segment } else { expected });
    }
    rest.next().is_none().then(|| fitted.join("/"))
}

/// The path without doubled slashes, `.` and `..`; a slash at its end stays.
fn clean(path: &str) -> Cow<'_, str> {
    let tidy = path.starts_with('/') && !path.contains("//") && !path.contains("/.");
    if tidy {
        return Cow::Borrowed(path);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let slash = path.ends_with('/') || path.ends_with("/.");
    let end = if slash && !segments.is_empty() { "/" } else { "" };
    Cow::Owned(format!("/{}{end}", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::{Found, Router, clean};
    use hyper::Method;

    fn router() -> Router<u8> {
        Router::new(&[
            (Method::GET, "/ping", 1),
            (Method::POST, "/topic/create", 2),
            (Method::GET, "/config/{opt}", 3),
            (Method::PUT, "/config/{opt}", 4),
            (Method::GET, "/debug/pprof/", 5),
        ])
    }

    /// The outcome as one short text.
    fn look(method: Method, path: &str) -> String {
        match router().find(&method, path) {
            Found::Endpoint(endpoint, params) => {
                format!("{endpoint} {}", params.get("opt").unwrap_or_default())
            }
            Found::Elsewhere(path) => format!("-> {path}"),
            Found::Options(allow) => format!("options {allow}"),
            Found::OtherMethods(allow) => format!("405 {allow}"),
            Found::Nothing => "404".to_owned(),
        }
    }

    #[test]
    fn finds_endpoints() {
        assert_eq!(look(Method::GET, "/ping"), "1 ");
        assert_eq!(look(Method::GET, "/config/log_level"), "3 log_level");
        assert_eq!(look(Method::PUT, "/config/x"), "4 x");
        assert_eq!(look(Method::GET, "/debug/pprof/"), "5 ");
    }

    #[test]
    fn says_which_methods_would_do() {
        assert_eq!(look(Method::POST, "/ping"), "405 GET, OPTIONS");
        assert_eq!(look(Method::HEAD, "/ping"), "405 GET, OPTIONS");
        assert_eq!(look(Method::POST, "/config/x"), "405 GET, OPTIONS, PUT");
        assert_eq!(look(Method::OPTIONS, "/config/x"), "options GET, OPTIONS, PUT");
        assert_eq!(look(Method::OPTIONS, "/nothing"), "404");
    }

    #[test]
    fn sends_almost_right_paths_where_they_belong() {
        for path in ["/ping/", "//ping", "/PING", "/a/../ping", "/./ping", "/PING/"] {
            assert_eq!(look(Method::GET, path), "-> /ping");
        }
        assert_eq!(look(Method::GET, "/debug/pprof"), "-> /debug/pprof/");
        assert_eq!(look(Method::GET, "/CONFIG/Log_Level"), "-> /config/Log_Level");
        assert_eq!(look(Method::GET, "/config/a/"), "-> /config/a");
        assert_eq!(look(Method::POST, "/Topic/Create"), "-> /topic/create");
    }

    #[test]
    fn but_only_for_the_method_asked() {
        for path in ["/topic/create/", "/TOPIC/create", "/nothing", "/", "/config", "/config/"] {
            assert_eq!(look(Method::GET, path), "404");
        }
        assert_eq!(look(Method::DELETE, "/ping/"), "404");
        assert_eq!(look(Method::OPTIONS, "/ping/"), "404");
        assert_eq!(look(Method::GET, "/config/a/b"), "404");
    }

    #[test]
    fn cleans_like_the_original() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("a", "/a"),
            ("//a//b/", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/../a", "/a"),
            ("/a.b/.c", "/a.b/.c"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
