//! User pools and their clients. The local issuer stands for every pool, so only the clients' ids have a meaning here.

use super::super::fields::Schema;
use super::{Context, Kind};

pub(crate) const USER_POOL: Schema = Schema {
    subject: "AWS::Cognito::UserPool",
    required: &[],
    optional: &[],
    ignored: &[
        "AccountRecoverySetting",
        "AdminCreateUserConfig",
        "AliasAttributes",
        "AutoVerifiedAttributes",
        "DeletionProtection",
        "DeviceConfiguration",
        "EmailConfiguration",
        "EnabledMfas",
        "MfaConfiguration",
        "Policies",
        "Schema",
        "UserAttributeUpdateSettings",
        "UserPoolAddOns",
        "UserPoolName",
        "UserPoolTags",
        "UserPoolTier",
        "UsernameAttributes",
        "UsernameConfiguration",
        "VerificationMessageTemplate",
    ],
};

pub(crate) const USER_POOL_CLIENT: Schema = Schema {
    subject: "AWS::Cognito::UserPoolClient",
    required: &["UserPoolId"],
    optional: &["GenerateSecret"],
    ignored: &[
        "AccessTokenValidity",
        "AllowedOAuthFlows",
        "AllowedOAuthFlowsUserPoolClient",
        "AllowedOAuthScopes",
        "AuthSessionValidity",
        "CallbackURLs",
        "ClientName",
        "DefaultRedirectURI",
        "EnableTokenRevocation",
        "ExplicitAuthFlows",
        "IdTokenValidity",
        "LogoutURLs",
        "PreventUserExistenceErrors",
        "ReadAttributes",
        "RefreshTokenValidity",
        "SupportedIdentityProviders",
        "TokenValidityUnits",
        "WriteAttributes",
    ],
};

pub(crate) fn user_pools(context: &Context<'_>) {
    for resource in context.scope.present(Kind::UserPool) {
        context.fields(resource, &USER_POOL);
    }
}

pub(crate) fn user_pool_clients(context: &Context<'_>) -> Vec<String> {
    let clients = context.scope.present(Kind::UserPoolClient).filter_map(|resource| {
        let fields = context.fields(resource, &USER_POOL_CLIENT);
        if fields.boolean("GenerateSecret") == Some(true) {
            fields.wrong("GenerateSecret", "cannot be true: the local issuer has no client secrets");
        }
        let pool = fields.text("UserPoolId")?;
        if context.scope.find(Kind::UserPool, "UserPoolId", &pool).is_none() {
            fields.wrong("UserPoolId", &format!("is \"{pool}\", which is not a user pool of this template"));
        }
        context.problems.keep(resource.reference(context.scope))
    });
    clients.collect()
}
