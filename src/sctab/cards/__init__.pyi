from ._card import ModelCard as ModelCard, check_facts as check_facts, read_card as read_card
from ._download import download_model as download_model
from ._facts import CardFacts as CardFacts, DataSource as DataSource, read_facts as read_facts
from ._file import CardFile as CardFile, read_card_file as read_card_file, write_card_file as write_card_file
from ._scores import (
    UNSEEN_FDR as UNSEEN_FDR,
    Confusion as Confusion,
    HeldOutScores as HeldOutScores,
    LabelScore as LabelScore,
    PromiseScore as PromiseScore,
    score_cells_of as score_cells_of,
)
from ._upload import upload_model as upload_model

__all__: list[str] = []
