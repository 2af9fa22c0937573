//! All routes and their documentation. Both come from one declaration, so the documentation can't leave out a route.

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{RefOr, Required};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::{FieldError, Problem};
use crate::{Deps, admin, admission, conversations, docs, media, messages, users};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Parley",
        description = "Users, conversations and their history. Messages are sent over the WebSocket API.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        contact()
    ),
    servers((url = "/")),
    modifiers(&Bearer),
    security(("bearer" = [])),
    // utoipa does not collect the schemas of responses that calls share, so they are named here.
    components(schemas(Problem, FieldError)),
    tags(
        (name = "users", description = "The user of the token, and whether there is a place"),
        (name = "conversations", description = "Conversations: make, list, rename, delete"),
        (name = "messages", description = "The messages and answers of a conversation"),
        (name = "media", description = "Images, audio and video"),
        (name = "admin", description = "Connected clients and all users; only for members of the group `admin`"),
    )
)]
struct Documentation;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("JWT".to_owned());
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

pub(crate) fn router(deps: Deps) -> Router {
    let (router, mut document) = documented().split_for_parts();
    // A new conversation needs no body at all. utoipa can say only that a body may be null, so the document is changed
    // here.
    let create = document.paths.paths.get_mut("/api/conversations").and_then(|path| path.post.as_mut());
    if let Some(RefOr::T(body)) = create.and_then(|create| create.request_body.as_mut()) {
        body.required = Some(Required::False);
    }
    router
        .with_state(deps)
        .merge(docs::router(document))
        .method_not_allowed_fallback(async |method: Method| unserved(&method, Problem::method_not_allowed()))
        .fallback(async |request: Request| {
            unserved(request.method(), Problem::not_found(format!("There is nothing at {}", request.uri().path())))
        })
        .layer(axum::middleware::from_fn(admin::guard))
}

/// A preflight asks for nothing, so it is never an error. The HTTP API adds the CORS headers itself.
fn unserved(method: &Method, problem: Problem) -> Response {
    if method == Method::OPTIONS { StatusCode::NO_CONTENT.into_response() } else { problem.into_response() }
}

fn documented() -> OpenApiRouter<Deps> {
    OpenApiRouter::with_openapi(Documentation::openapi())
        .routes(routes!(users::me))
        .routes(routes!(admission::admission))
        .routes(routes!(conversations::create, conversations::list))
        .routes(routes!(conversations::get, conversations::rename, conversations::delete))
        .routes(routes!(messages::list))
        .routes(routes!(messages::get))
        .routes(routes!(media::upload))
        .routes(routes!(media::get))
        .routes(routes!(admin::clients))
        .routes(routes!(admin::close))
        .routes(routes!(admin::users))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn each_call_has_a_name_of_its_own_and_each_response_says_what_it_means() {
        let document: Value = serde_json::to_value(documented().into_openapi()).expect("JSON");
        let mut names = BTreeSet::new();
        for (path, calls) in document["paths"].as_object().expect("paths") {
            for (method, call) in calls.as_object().expect("calls") {
                let name = call["operationId"].as_str().expect("a name");
                assert!(names.insert(name.to_owned()), "{method} {path}: {name} is another's");
                for (status, response) in call["responses"].as_object().expect("responses") {
                    let says = response["description"].as_str().is_some_and(|text| !text.is_empty());
                    assert!(says, "{method} {path}: {status} says nothing");
                }
            }
        }
    }
}
