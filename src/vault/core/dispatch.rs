//! Running a request's engine, and making the token of a login.

use super::gate::Routed;
use super::kernel::Kernel;
use super::mounts::Dispatch;
use super::token::{IssuedToken, NewToken};
use crate::vault::logical::{LogicalError, Login, Request, Response};

impl Kernel<'_> {
    pub(super) async fn exists(
        &self,
        routed: &Routed<'_>,
        request: &Request,
    ) -> Result<Option<bool>, LogicalError> {
        match routed.target.as_ref().map(|(mounted, _)| &mounted.dispatch) {
            Some(Dispatch::Engine(engine)) => engine.exists(request, &self.storage()).await,
            Some(Dispatch::Kernel(engine)) => engine.exists(request, self).await,
            Some(Dispatch::Reserved | Dispatch::Missing(_)) | None => Ok(None),
        }
    }

    pub(super) async fn dispatch(
        &self,
        routed: &Routed<'_>,
        request: &Request,
    ) -> Result<Option<Response>, LogicalError> {
        let response = match routed.target.as_ref().map(|(mounted, _)| &mounted.dispatch) {
            Some(Dispatch::Engine(engine)) => engine.handle(request, &self.storage(), self).await?,
            Some(Dispatch::Kernel(engine)) => engine.handle(request, self).await?,
            Some(Dispatch::Reserved) => return Err(LogicalError::UnsupportedPath),
            Some(Dispatch::Missing(reason)) => return Err(LogicalError::Unavailable(reason.clone())),
            None => None,
        };
        let Some(mut response) = response else { return Ok(None) };
        if let Some(login) = response.login.take() {
            let issued = self.issue(login).await?;
            response.warnings.extend(issued.warnings.iter().cloned());
            response.auth = Some(issued.auth());
        }
        Ok(Some(response))
    }

    /// The token of a successful login.
    async fn issue(&self, login: Login) -> Result<IssuedToken, LogicalError> {
        self.create_token(NewToken {
            policies: login.policies,
            metadata: login.metadata,
            display_name: login.display_name,
            ttl_seconds: login.ttl_seconds,
            max_ttl_seconds: login.max_ttl_seconds,
            explicit_max_ttl_seconds: login.explicit_max_ttl_seconds,
            period_seconds: login.period_seconds,
            num_uses: login.num_uses,
            renewable: login.renewable,
            token_type: login.token_type,
            parent: if login.orphan { None } else { self.caller().cloned() },
            ..NewToken::default()
        })
        .await
    }
}
