"""Messages in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from uuid import uuid4

from core.models import JobMessage, TaskMessage


class MemoryBus:
    """The MessageBus port: messages wait until a test delivers them."""

    def __init__(self) -> None:
        self.messages: deque[JobMessage | TaskMessage] = deque()
        self.scheduled: list[tuple[datetime, JobMessage | TaskMessage]] = []

    def send_jobs(self, messages: Iterable[JobMessage], due: datetime | None = None) -> list[str]:
        sent = list(messages)
        if due is None:
            self.messages.extend(sent)
        else:
            self.scheduled.extend((due, message) for message in sent)
        return [uuid4().hex for _ in sent]

    def send_tasks(self, messages: Iterable[TaskMessage], due: datetime | None = None) -> None:
        if due is None:
            self.messages.extend(messages)
        else:
            self.scheduled.extend((due, message) for message in messages)

    def drain(
        self,
        on_job: Callable[[JobMessage], None],
        on_tasks: Callable[[Sequence[TaskMessage]], None],
    ) -> int:
        """Deliver all messages, quick tasks in batches. Returns the number delivered."""
        delivered = 0
        while self.messages:
            message = self.messages.popleft()
            if isinstance(message, JobMessage):
                on_job(message)
                delivered += 1
            else:
                batch = [message, *self._more_quick(message)]
                on_tasks(batch)
                delivered += len(batch)
        return delivered

    def _more_quick(self, first: TaskMessage) -> Iterator[TaskMessage]:
        """The rest of a batch of quick tasks."""
        while first.quick and self.messages:
            message = self.messages[0]
            if not (isinstance(message, TaskMessage) and message.quick):
                return
            self.messages.popleft()
            yield message
