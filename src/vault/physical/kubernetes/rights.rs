//! What this account may do, asked of the API server: asking takes no right that an account does not have, and
//! changes nothing.

use std::borrow::Cow;

use futures_util::future::try_join_all;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::api::{Api, PostParams};
use kube::{Client, Error, Resource};

/// Verbs on a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rights {
    group: Cow<'static, str>,
    resource: Cow<'static, str>,
    /// Of the one object; `None`: on every object.
    name: Option<String>,
    verbs: Vec<&'static str>,
}

impl Rights {
    pub(super) fn to<K: Resource<DynamicType = ()>>(name: Option<&str>, verbs: &[&'static str]) -> Self {
        Self {
            group: K::group(&()),
            resource: K::plural(&()),
            name: name.map(str::to_owned),
            verbs: verbs.to_vec(),
        }
    }
}

impl std::fmt::Display for Rights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}.{}", self.verbs.join(", "), self.resource, self.group)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, "/{name}"))
    }
}

/// What this account lacks.
#[derive(Debug, Default)]
pub(super) struct Lack {
    pub(super) rights: Vec<Rights>,
    /// What the API server says to that, if anything.
    pub(super) reason: Option<String>,
}

/// Those of `wanted` that this account does not have in `namespace`. An API server that does not let it ask tells nothing.
///
/// # Errors
/// Every answer that is none to this question.
pub(super) async fn lacking(client: &Client, namespace: &str, wanted: &[Rights]) -> Result<Lack, Error> {
    let mut lack = Lack::default();
    for rights in wanted {
        let asked = rights.verbs.iter().map(|verb| ask(client, namespace, rights, verb));
        let mut missing = Vec::new();
        for (verb, status) in rights.verbs.iter().zip(try_join_all(asked).await?) {
            let Some(status) = status.filter(|status| !status.allowed) else { continue };
            missing.push(*verb);
            let said = status.evaluation_error.or(status.reason).filter(|text| !text.is_empty());
            lack.reason = lack.reason.or(said);
        }
        if !missing.is_empty() {
            lack.rights.push(Rights { verbs: missing, ..rights.clone() });
        }
    }
    Ok(lack)
}

/// What the API server says to one verb; `None` if it does not answer such questions to this account.
async fn ask(
    client: &Client,
    namespace: &str,
    rights: &Rights,
    verb: &str,
) -> Result<Option<SubjectAccessReviewStatus>, Error> {
    let attributes = ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        group: Some(rights.group.to_string()),
        resource: Some(rights.resource.to_string()),
        name: rights.name.clone(),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    match Api::all(client.clone()).create(&PostParams::default(), &review).await {
        Ok(answered) => Ok(answered.status),
        Err(Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name by which the API server knows this account, if it tells.
pub(super) async fn account(client: &Client) -> Option<String> {
    let review = SelfSubjectReview::default();
    let answered = Api::all(client.clone()).create(&PostParams::default(), &review).await.ok()?;
    answered.status?.user_info?.username
}
