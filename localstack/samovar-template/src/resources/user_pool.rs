//! User pools and their clients. The local issuer stands in for every pool, so only two things have a meaning here: the
//! clients' ids, and the domains, whose address becomes the issuer's.

use super::Context;
use crate::fields::{Fields, Schema};
use crate::resource::Kind;

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
        "EmailVerificationMessage",
        "EmailVerificationSubject",
        "EnabledMfas",
        "LambdaConfig",
        "MfaConfiguration",
        "Policies",
        "Schema",
        "SmsAuthenticationMessage",
        "SmsConfiguration",
        "SmsVerificationMessage",
        "UserAttributeUpdateSettings",
        "UserPoolAddOns",
        "UserPoolName",
        "UserPoolTags",
        "UserPoolTier",
        "UsernameAttributes",
        "UsernameConfiguration",
        "VerificationMessageTemplate",
        "WebAuthnFactorConfiguration",
        "WebAuthnRelyingPartyID",
        "WebAuthnUserVerification",
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
        "AnalyticsConfiguration",
        "AuthSessionValidity",
        "CallbackURLs",
        "ClientName",
        "DefaultRedirectURI",
        "EnablePropagateAdditionalUserContextData",
        "EnableTokenRevocation",
        "ExplicitAuthFlows",
        "IdTokenValidity",
        "LogoutURLs",
        "PreventUserExistenceErrors",
        "ReadAttributes",
        "RefreshTokenRotation",
        "RefreshTokenValidity",
        "SupportedIdentityProviders",
        "TokenValidityUnits",
        "WriteAttributes",
    ],
};

pub(crate) const USER_POOL_DOMAIN: Schema = Schema {
    subject: "AWS::Cognito::UserPoolDomain",
    required: &["Domain", "UserPoolId"],
    optional: &[],
    ignored: &["CustomDomainConfig", "ManagedLoginVersion", "Routing"],
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
        check_pool(context, &fields)?;
        context.problems.keep(resource.reference(context.scope))
    });
    clients.collect()
}

/// The domain prefixes of the user pools.
pub(crate) fn user_pool_domains(context: &Context<'_>) -> Vec<String> {
    let domains = context.scope.present(Kind::UserPoolDomain).filter_map(|resource| {
        let fields = context.fields(resource, &USER_POOL_DOMAIN);
        check_pool(context, &fields)?;
        let domain = context.problems.keep(resource.reference(context.scope))?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let hyphens = domain.starts_with('-') || domain.ends_with('-');
        if !(1..=63).contains(&domain.len()) || !domain.chars().all(plain) || hyphens {
            let takes =
                "AWS takes 1 to 63 lower-case letters, digits and, inside, hyphens (custom domains are not supported)";
            fields.wrong("Domain", &format!("is \"{domain}\", but {takes}"));
        }
        Some(domain)
    });
    domains.collect()
}

fn check_pool(context: &Context<'_>, fields: &Fields<'_>) -> Option<()> {
    let pool = fields.text("UserPoolId")?;
    if context.scope.find(Kind::UserPool, "UserPoolId", &pool).is_none() {
        fields.wrong("UserPoolId", &format!("is \"{pool}\", which is not a user pool of this template"));
    }
    Some(())
}
