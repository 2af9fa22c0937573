//! All routes and their documentation, from one declaration: what is served is what is documented.

use axum::Router;
use axum::extract::Request;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::problem::Problem;
use crate::{Deps, admission, conversations, messages, users};

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
    tags(
        (name = "users", description = "Who speaks, and whether there is a place"),
        (name = "conversations", description = "What messages are said in"),
        (name = "messages", description = "What was said"),
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
    let (router, document) = documented().split_for_parts();
    router
        .with_state(deps)
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document))
        .fallback(async |request: Request| Problem::not_found(format!("There is no {}", request.uri().path())))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
}

fn documented() -> OpenApiRouter<Deps> {
    OpenApiRouter::with_openapi(Documentation::openapi())
        .routes(routes!(users::me))
        .routes(routes!(admission::admission))
        .routes(routes!(conversations::create, conversations::list))
        .routes(routes!(conversations::get, conversations::rename, conversations::delete))
        .routes(routes!(messages::list))
        .routes(routes!(messages::get))
}
