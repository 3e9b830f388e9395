"""llama.cpp's routes between text and ids, by which clients count before they ask."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pi_cluster.coordinator.asking.encoding import chat_text
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.http.bodies import json_response, read_json
from pi_cluster.server.http.operation import Operation, operation
from pi_cluster.server.http.refusal import refuse
from pi_cluster.server.openai.answers import Content, Rendered, Tokens
from pi_cluster.server.openai.messages import turns_of
from pi_cluster.server.openai.requests import (
    DetokenizeRequest,
    TemplateRequest,
    TokenizeRequest,
)


def routes() -> list[BaseRoute]:
    """All of them."""
    return [
        Route("/tokenize", _tokenize, methods=["POST"]),
        Route("/detokenize", _detokenize, methods=["POST"]),
        Route("/apply-template", _apply_template, methods=["POST"]),
    ]


@operation(Operation("The token ids of a text", TokenizeRequest, Tokens))
async def _tokenize(request: Request) -> Response:
    desk: Desk = request.app.state.desk
    said = await read_json(request, TokenizeRequest)
    if said.with_pieces:
        refuse("with_pieces", "ids are given alone: leave `with_pieces` out")
    model = desk.client.model
    ids = await desk.encoding(lambda: model.text_ids(said.content, opening=said.add_special))
    return json_response(Tokens(ids))


@operation(Operation("The text of token ids", DetokenizeRequest, Content))
async def _detokenize(request: Request) -> Response:
    desk: Desk = request.app.state.desk
    said = await read_json(request, DetokenizeRequest)
    return json_response(
        Content(await desk.encoding(lambda: desk.client.model.text_of(said.tokens)))
    )


@operation(Operation("A conversation as the model reads it", TemplateRequest, Rendered))
async def _apply_template(request: Request) -> Response:
    desk: Desk = request.app.state.desk
    said = await read_json(request, TemplateRequest)
    turns, tools = turns_of(said.messages), said.tools or ()
    model = desk.client.model
    return json_response(Rendered(await desk.encoding(lambda: chat_text(model, turns, tools))))
