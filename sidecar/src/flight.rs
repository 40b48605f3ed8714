//! Arrow Flight: what `crates/flight` asks, answered by the engine.

use std::pin::Pin;

use arrow_array::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use statline_flight::rows::{self, SeriesRow};
use statline_flight::ticket::{GraphiteQuery, SubscribeQuery};
use statline_flight::{Query, action};
use statline_graphite::Series;
use statline_series::Values;
use tonic::{Request, Response, Status, Streaming};

use crate::access::Access;
use crate::clock;
use crate::engine::{Engine, QueryError, Window, parse_zone};

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Flight {
    engine: Engine,
    access: Access,
}

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Flight {
    /// The service on an engine.
    pub const fn new(engine: Engine, access: Access) -> Self {
        Self { engine, access }
    }

    fn guard<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let authorization = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if self.access.allows(authorization) {
            return Ok(());
        }
        Err(Status::unauthenticated(match authorization {
            None => "no token was sent",
            Some(_) => "the token is not flight.token",
        }))
    }

    async fn graphite(&self, query: GraphiteQuery) -> Result<Vec<RecordBatch>, QueryError> {
        if query.until <= query.from {
            return Err(QueryError::Bad("until is not after from; the range is empty".to_owned()));
        }
        let window = Window {
            from: query.from,
            until: query.until,
            now: clock::now(),
            zone: parse_zone(query.timezone.as_deref().unwrap_or(""))?,
            max_data_points: query.max_data_points.filter(|points| *points > 0).map(|points| points as usize),
            x_files_factor: 0.0,
            compat: None,
            template: query.template,
        };
        to_batches(self.engine.graphite(&query.target, &window).await?).await
    }

    /// One answer after each flush, for as long as the caller listens.
    fn subscribe(
        &self,
        query: SubscribeQuery,
    ) -> Result<impl Stream<Item = Result<Vec<RecordBatch>, QueryError>> + Send + use<>, QueryError> {
        let zone = parse_zone(query.timezone.as_deref().unwrap_or(""))?;
        // A target that cannot be parsed is refused at once, not after the first flush.
        statline_graphite::parse(&query.target).map_err(|error| QueryError::Bad(error.to_string()))?;
        let engine = self.engine.clone();
        let mut flushed = engine.flushed();
        flushed.mark_unchanged();
        Ok(stream::try_unfold((engine, flushed, query.target), move |(engine, mut flushed, target)| async move {
            if flushed.changed().await.is_err() {
                return Ok(None);
            }
            let Some(flush) = *flushed.borrow_and_update() else {
                return Ok(Some((Vec::new(), (engine, flushed, target))));
            };
            let series = engine.newest(&target, zone, flush).await?;
            Ok(Some((to_batches(series).await?, (engine, flushed, target))))
        }))
    }

    async fn answer(&self, asked: action::Action) -> Result<Vec<u8>, QueryError> {
        let body = match asked {
            action::Action::Find(find) => serde_json::to_vec(&self.engine.find(&find).await?),
            action::Action::Tags(tags) => serde_json::to_vec(&self.engine.tags(&tags).await?),
            action::Action::TagValues(values) => serde_json::to_vec(&self.engine.tag_values(&values).await?),
            action::Action::Events(events) => serde_json::to_vec(&self.engine.events(&events).await?),
            action::Action::Functions => serde_json::to_vec(&statline_graphite::functions()),
            action::Action::Health => serde_json::to_vec(&self.engine.health().await?),
        };
        body.map_err(|error| QueryError::Internal(error.to_string()))
    }
}

fn to_row(series: Series) -> SeriesRow {
    SeriesRow {
        name: series.name.clone(),
        labels: series.tags.clone(),
        path_expression: series.path_expression.clone(),
        values: Values::Regular { start: series.start, step: series.step, values: series.into_values() },
    }
}

fn to_status(error: &QueryError) -> Status {
    let message = error.to_string();
    match error {
        QueryError::Bad(_) => Status::invalid_argument(message),
        QueryError::Limit(_) => Status::resource_exhausted(message),
        QueryError::Timeout(_) => Status::deadline_exceeded(message),
        QueryError::Store(_) | QueryError::Internal(_) => {
            tracing::warn!(%error, "a query failed");
            Status::internal(message)
        }
    }
}

/// Series as record batches; millions of values are not for the threads that serve sockets.
async fn to_batches(series: Vec<Series>) -> Result<Vec<RecordBatch>, QueryError> {
    let encoding = tokio::task::spawn_blocking(move || {
        let rows: Vec<SeriesRow> = series.into_iter().map(to_row).collect();
        rows::encode(&rows)
    });
    let encoded = encoding.await.map_err(|error| QueryError::Internal(error.to_string()))?;
    encoded.map_err(|error| QueryError::Internal(error.to_string()))
}

/// Batches as Flight data; the schema goes ahead, so that an empty answer is an answer.
fn encode(answers: impl Stream<Item = Result<Vec<RecordBatch>, QueryError>> + Send + 'static) -> Answer<FlightData> {
    let batches = answers
        .map_err(|error| FlightError::Tonic(Box::new(to_status(&error))))
        .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
        .try_flatten();
    let encoded = FlightDataEncoderBuilder::new().with_schema(rows::schema()).build(batches);
    encoded.map_err(Status::from).boxed()
}

#[tonic::async_trait]
impl FlightService for Flight {
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type DoExchangeStream = Answer<FlightData>;
    type DoGetStream = Answer<FlightData>;
    type DoPutStream = Answer<PutResult>;
    type HandshakeStream = Answer<HandshakeResponse>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type ListFlightsStream = Answer<FlightInfo>;

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        self.guard(&request)?;
        let ticket = statline_flight::Ticket::decode(&request.into_inner().ticket)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let answer = match ticket.into_query() {
            Query::Graphite(query) => {
                let batches = self.graphite(query).await.map_err(|error| to_status(&error))?;
                encode(stream::iter([Ok(batches)]))
            }
            Query::Subscribe(query) => encode(self.subscribe(query).map_err(|error| to_status(&error))?),
        };
        Ok(Response::new(answer))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        self.guard(&request)?;
        let Action { r#type, body } = request.into_inner();
        let asked =
            action::Action::decode(&r#type, &body).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let body = self.answer(asked).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(stream::iter([Ok(arrow_flight::Result { body: body.into() })]).boxed()))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        self.guard(&request)?;
        let types = action::Action::TYPES
            .map(|(name, description)| Ok(ActionType { r#type: name.to_owned(), description: description.to_owned() }));
        Ok(Response::new(stream::iter(types).boxed()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(Status::unimplemented("send a bearer token with each call; there is no handshake"))
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(Status::unimplemented("series are found by the action find"))
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        Err(Status::unimplemented("a ticket is made by its asker; see docs/flight.md"))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented("a ticket is made by its asker; see docs/flight.md"))
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        Err(Status::unimplemented("every answer has the one schema of docs/flight.md"))
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        Err(Status::unimplemented("points are sent as statsd or carbon"))
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(Status::unimplemented("points are sent as statsd or carbon"))
    }
}
