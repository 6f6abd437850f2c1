"""The words of the grammar: nouns, adjectives, verbs, adverbs and pronouns, with every form spelled out.

Forms are written down, never derived by rule, so that each can be read and corrected in one place.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple


class Noun(NamedTuple):
    """A noun; `kinds` says which verbs and adjectives it can stand with."""

    english: str
    english_plural: str
    french: str
    french_plural: str
    gender: str
    kinds: frozenset[str]


class Adjective(NamedTuple):
    """An adjective: `forms` are masculine and feminine singular, then masculine and feminine plural.

    `prevocalic` replaces the masculine singular before a vowel (bel, vieil, nouvel). Of one `group`
    (colour, size, age, ...) a thing has only one. What is `passing` can be so often, always or never.
    """

    english: str
    forms: tuple[str, str, str, str]
    before_noun: bool
    kinds: frozenset[str]
    group: str
    prevocalic: str
    attributive_only: bool
    passing: bool

    @property
    def has_one_gender(self) -> bool:
        """True where masculine and feminine are spelled alike (triste, malade)."""
        return self.forms[0] == self.forms[1]


class Verb(NamedTuple):
    """A verb with its frame.

    `forms` are the present of je, tu, il, nous, ils. `particle` is what English puts behind the verb
    ("look *for*"), `complement` what French does ("avoir *besoin*"), `preposition` what joins the
    French object. No `objects` means intransitive.
    """

    base: str
    third: str
    particle: tuple[str, ...]
    infinitive: str
    forms: tuple[str, str, str, str, str]
    subjects: frozenset[str]
    objects: frozenset[str]
    preposition: str
    complement: str
    traits: frozenset[str]

    @property
    def lemma(self) -> str:
        """The English dictionary form with its particle: `look for`."""
        return " ".join((self.base, *self.particle))

    @property
    def takes_human_pronoun(self) -> bool:
        """True where the object can be a pronoun that moves before the verb (le, la, les, lui, leur)."""
        return "human" in self.objects and self.preposition != "de"


@dataclass(frozen=True)
class Pronoun:
    """A personal pronoun. `person` is the row of French verb forms (je 0, tu 1, il 2, nous 3, ils 4)."""

    subject: str
    object: str
    french_subject: str
    french_direct: str
    french_dative: str
    french_reflexive: str
    person: int
    gender: str = "m"
    refers: bool = False


class Adverb(NamedTuple):
    """An adverbial of one or several words, in both languages."""

    english: tuple[str, ...]
    french: tuple[str, ...]


# Words with an aspirated h: no elision, no prevocalic form before them.
ASPIRATED = frozenset(
    ("hibou", "hiboux", "hamster", "hamsters", "haricot", "haricots", "hache", "haches", "harpe", "harpes", "héros")
)

_NOUNS = """
man men             | homme hommes             | m | human person
woman women         | femme femmes             | f | human person
boy boys            | garçon garçons           | m | human person
girl girls          | fille filles             | f | human person
child children      | enfant enfants           | m | human person own
king kings          | roi rois                 | m | human person own
queen queens        | reine reines             | f | human person own
hero heroes         | héros héros              | m | human person own
teacher teachers    | professeur professeurs   | m | human role own
friend friends      | ami amis                 | m | human role own
neighbour neighbours | voisin voisins          | m | human role own
student students    | étudiant étudiants       | m | human role own
mother mothers      | mère mères               | f | human kin own
brother brothers    | frère frères             | m | human kin own
sister sisters      | sœur sœurs               | f | human kin own
uncle uncles        | oncle oncles             | m | human kin own
cat cats            | chat chats               | m | animal own
dog dogs            | chien chiens             | m | animal own
bird birds          | oiseau oiseaux           | m | animal own
horse horses        | cheval chevaux           | m | animal own
cow cows            | vache vaches             | f | animal own
mouse mice          | souris souris            | f | animal own
bee bees            | abeille abeilles         | f | animal own
owl owls            | hibou hiboux             | m | animal own
hamster hamsters    | hamster hamsters         | m | animal own
elephant elephants  | éléphant éléphants       | m | animal own
goose geese         | oie oies                 | f | animal own
apple apples        | pomme pommes             | f | food own
orange oranges      | orange oranges           | f | food own
cake cakes          | gâteau gâteaux           | m | food own
egg eggs            | œuf œufs                 | m | food own
bean beans          | haricot haricots         | m | food own
carrot carrots      | carotte carottes         | f | food own
apricot apricots    | abricot abricots         | m | food own
cherry cherries     | cerise cerises           | f | food own
key keys            | clé clés                 | f | thing own
car cars            | voiture voitures         | f | thing own cover
box boxes           | boîte boîtes             | f | thing own hollow
bag bags            | sac sacs                 | m | thing own hollow
table tables        | table tables             | f | thing own cover
chair chairs        | chaise chaises           | f | thing own cover
hat hats            | chapeau chapeaux         | m | thing own
clock clocks        | horloge horloges         | f | thing own
axe axes            | hache haches             | f | thing own
tool tools          | outil outils             | m | thing own
computer computers  | ordinateur ordinateurs   | m | thing own
book books          | livre livres             | m | thing own text written
letter letters      | lettre lettres           | f | own text written
newspaper newspapers | journal journaux        | m | own text
story stories       | histoire histoires       | f | own text written
poem poems          | poème poèmes             | m | own text written
piano pianos        | piano pianos             | m | thing own instrument cover
guitar guitars      | guitare guitares         | f | thing own instrument
harp harps          | harpe harpes             | f | thing own instrument
accordion accordions | accordéon accordéons    | m | thing own instrument
house houses        | maison maisons           | f | place inside own
kitchen kitchens    | cuisine cuisines         | f | place inside own
forest forests      | forêt forêts             | f | place inside
garden gardens      | jardin jardins           | m | place inside goal own
castle castles      | château châteaux         | m | place inside goal own
school schools      | école écoles             | f | place inside goal venue own
church churches     | église églises           | f | place inside goal venue
hotel hotels        | hôtel hôtels             | m | place inside goal venue own
hospital hospitals  | hôpital hôpitaux         | m | place inside goal venue
museum museums      | musée musées             | m | place inside goal venue
office offices      | bureau bureaux           | m | place inside goal venue own
station stations    | gare gares               | f | place inside goal venue
market markets      | marché marchés           | m | place goal venue
beach beaches       | plage plages             | f | place goal venue
"""

# Columns: English | masculine, feminine, plurals | position | kinds of noun | group | before a vowel.
_ADJECTIVES = """
small       | petit petite petits petites                         | before | animal food thing place | size |
big         | grand grande grands grandes                         | before | animal thing place | size |
beautiful   | beau belle beaux belles                             | before | person animal thing place | looks | bel
pretty      | joli jolie jolis jolies                             | before | animal thing place | looks |
old         | vieux vieille vieux vieilles                        | before | person role animal thing place | age | vieil
new         | nouveau nouvelle nouveaux nouvelles                 | before | role thing place | age | nouvel
young       | jeune jeune jeunes jeunes                           | before | person role animal | age |
good        | bon bonne bons bonnes                               | before | food text | quality |
bad         | mauvais mauvaise mauvais mauvaises                  | before | food text | quality |
long        | long longue longs longues                           | before | text |  |
black       | noir noire noirs noires                             | after  | animal thing | colour |
white       | blanc blanche blancs blanches                       | after  | animal thing | colour |
red         | rouge rouge rouges rouges                           | after  | food thing | colour |
green       | vert verte verts vertes                             | after  | food thing | colour |
blue        | bleu bleue bleus bleues                             | after  | thing | colour |
yellow      | jaune jaune jaunes jaunes                           | after  | food thing | colour |
happy       | heureux heureuse heureux heureuses                  | after  | human animal | mood |
sad         | triste triste tristes tristes                       | after  | human animal | mood |
tired       | fatigué fatiguée fatigués fatiguées                 | after  | human animal |  |
ill         | malade malade malades malades                       | after  | human animal |  |
intelligent | intelligent intelligente intelligents intelligentes | after  | human animal |  |
rich        | riche riche riches riches                           | after  | human |  |
shy         | timide timide timides timides                       | after  | human animal |  |
curious     | curieux curieuse curieux curieuses                  | after  | human animal |  |
strong      | fort forte forts fortes                             | after  | human animal |  |
famous      | célèbre célèbre célèbres célèbres                   | after  | human text goal |  |
expensive   | cher chère chers chères                             | after  | food thing |  |
heavy       | lourd lourde lourds lourdes                         | after  | thing |  |
fresh       | frais fraîche frais fraîches                        | after  | food | quality |
empty       | vide vide vides vides                               | after  | hollow inside |  |
interesting | intéressant intéressante intéressants intéressantes | after  | text |  |
"""

# Columns: English (base, third person, particle) | French infinitive, complement | je tu il nous ils |
# subjects | objects | preposition | traits. Subjects and objects are kinds of noun; living is human or animal.
_VERBS = """
sleep sleeps     | dormir       | dors dors dort dormons dorment                       | living | | | event well
work works       | travailler   | travaille travailles travaille travaillons travaillent | human  | | | event well
sing sings       | chanter      | chante chantes chante chantons chantent              | human  | | | event well
run runs         | courir       | cours cours court courons courent                    | living | | | event fast
swim swims       | nager        | nage nages nage nageons nagent                       | living | | | habit dated fast
arrive arrives   | arriver      | arrive arrives arrive arrivons arrivent              | human  | | | early
be is hungry     | avoir faim   | ai as a avons ont                                    | living | | | frequent
be is thirsty    | avoir soif   | ai as a avons ont                                    | living | | | frequent
see sees         | voir         | vois vois voit voyons voient                         | living | living thing food place | | modal
like likes       | aimer        | aime aimes aime aimons aiment                        | human  | animal food thing text place | | generic
love loves       | aimer        | aime aimes aime aimons aiment                        | human  | human | | definite
hate hates       | détester     | déteste détestes déteste détestons détestent         | human  | animal food thing place | | generic
eat eats         | manger       | mange manges mange mangeons mangent                  | living | food | | event
buy buys         | acheter      | achète achètes achète achetons achètent              | human  | food thing text | | event
sell sells       | vendre       | vends vends vend vendons vendent                     | human  | food thing text | | event
look looks for   | chercher     | cherche cherches cherche cherchons cherchent         | living | living thing food | | event
find finds       | trouver      | trouve trouves trouve trouvons trouvent              | living | animal thing food text | | event
watch watches    | regarder     | regarde regardes regarde regardons regardent         | living | living | | event
choose chooses   | choisir      | choisis choisis choisit choisissons choisissent      | human  | thing food text | | modal
hear hears       | entendre     | entends entends entend entendons entendent           | living | living | | modal
know knows       | connaître    | connais connais connaît connaissons connaissent      | human  | human place | | definite
follow follows   | suivre       | suis suis suit suivons suivent                       | living | living | | event
help helps       | aider        | aide aides aide aidons aident                        | human  | living | | event
wait waits for   | attendre     | attends attends attend attendons attendent           | living | living | | event
listen listens to| écouter      | écoute écoutes écoute écoutons écoutent              | human  | living | | event
read reads       | lire         | lis lis lit lisons lisent                            | human  | text | | event
write writes     | écrire       | écris écris écrit écrivons écrivent                  | human  | written | | event
answer answers   | répondre     | réponds réponds répond répondons répondent           | human  | human | à | habit
talk talks to    | parler       | parle parles parle parlons parlent                   | human  | living | à | event
obey obeys       | obéir        | obéis obéis obéit obéissons obéissent                | living | human | à | habit
talk talks about | parler       | parle parles parle parlons parlent                   | human  | living thing text place | de | habit
need needs       | avoir besoin | ai as a avons ont                                    | human  | thing food | de | frequent
be is afraid of  | avoir peur   | ai as a avons ont                                    | living | living | de | frequent
dream dreams of  | rêver        | rêve rêves rêve rêvons rêvent                        | human  | animal thing food place | de | habit
play plays       | jouer        | joue joues joue jouons jouent                        | human  | instrument | de | event fixed
go goes to       | aller        | vais vas va allons vont                              | human  | goal | à | habit
come comes from  | venir        | viens viens vient venons viennent                    | human  | goal | de | frequent
get gets up      | lever        | lève lèves lève levons lèvent                        | human  | | | reflexive habit early
wake wakes up    | réveiller    | réveille réveilles réveille réveillons réveillent    | living | | | reflexive habit early
rest rests       | reposer      | repose reposes repose reposons reposent              | living | | | reflexive event
hurry hurries    | dépêcher     | dépêche dépêches dépêche dépêchons dépêchent         | human  | | | reflexive habit
get gets dressed | habiller     | habille habilles habille habillons habillent         | human  | | | reflexive event
have has fun     | amuser       | amuse amuses amuse amusons amusent                   | living | | | reflexive event
get gets bored   | ennuyer      | ennuie ennuies ennuie ennuyons ennuient              | living | | | reflexive event
"""


# What is done often can be wanted; what happens can also have a place and a time.
_TRAITS = {"event": {"habit", "placed", "dated"}, "habit": {"modal", "frequent"}}
_PASSING = frozenset(("happy", "sad", "tired", "ill", "shy", "curious", "empty"))


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def _noun(english: str, french: str, gender: str, kinds: str) -> Noun:
    return Noun(*english.split(), *french.split(), gender, frozenset(kinds.split()))


def _adjective(english: str, forms: str, position: str, kinds: str, group: str, prevocalic: str) -> Adjective:
    return Adjective(
        english,
        tuple(forms.split()),
        position == "before",
        frozenset(kinds.split()),
        group,
        prevocalic,
        # "nouveau" behind être would have to be told apart from "neuf".
        attributive_only=english == "new",
        passing=english in _PASSING,
    )


def _kinds(names: str) -> frozenset[str]:
    return frozenset(names.replace("living", "human animal").split())


def _verb(english: str, french: str, forms: str, subjects: str, objects: str, preposition: str, traits: str) -> Verb:
    base, third, *particle = english.split()
    infinitive, _, complement = french.partition(" ")
    given = set(traits.split())
    for shorthand, meaning in _TRAITS.items():
        given |= meaning if shorthand in given else set()
    return Verb(
        base,
        third,
        tuple(particle),
        infinitive,
        tuple(forms.split()),
        _kinds(subjects),
        _kinds(objects),
        preposition,
        complement,
        frozenset(given),
    )


# Tables are keyed by the English dictionary form, in the order above.
NOUNS = {noun.english: noun for noun in (_noun(*row) for row in _rows(_NOUNS))}
ADJECTIVES = {adjective.english: adjective for adjective in (_adjective(*row) for row in _rows(_ADJECTIVES))}
VERBS = {verb.lemma: verb for verb in (_verb(*row) for row in _rows(_VERBS))}

BE = Verb(
    "be", "is", (), "être", ("suis", "es", "est", "sommes", "sont"),
    frozenset(), frozenset(), "", "", frozenset({"modal", "frequent"}),
)  # fmt: skip
THERE_IS = Verb(
    "be", "is", ("there",), "avoir", ("ai", "as", "a", "avons", "ont"),
    frozenset(), frozenset({"person", "role", "animal", "thing", "food"}), "", "", frozenset(),
)  # fmt: skip

# "want" and "going to" are followed by "to" in English; French puts the bare infinitive behind all four.
AUXILIARIES = {
    "can": ("peux", "peux", "peut", "pouvons", "peuvent"),
    "must": ("dois", "dois", "doit", "devons", "doivent"),
    "want": ("veux", "veux", "veut", "voulons", "veulent"),
    "going": VERBS["go to"].forms,
}

PRONOUNS = {
    "I": Pronoun("I", "me", "je", "me", "me", "me", 0),
    "you": Pronoun("you", "you", "tu", "te", "te", "te", 1),
    "he": Pronoun("he", "him", "il", "le", "lui", "se", 2),
    "she": Pronoun("she", "her", "elle", "la", "lui", "se", 2, "f"),
    "we": Pronoun("we", "us", "nous", "nous", "nous", "nous", 3),
    "they": Pronoun("they", "them", "ils", "les", "leur", "se", 4),
}

POSSESSIVES = {
    "my": ("mon", "ma", "mes"),
    "your": ("ton", "ta", "tes"),
    "his": ("son", "sa", "ses"),
    "her": ("son", "sa", "ses"),
    "our": ("notre", "notre", "nos"),
    "their": ("leur", "leur", "leurs"),
}
NUMBERS = {"two": "deux", "three": "trois"}

FREQUENCY = {"often": Adverb(("often",), ("souvent",)), "always": Adverb(("always",), ("toujours",))}
MANNER = {
    "well": (Adverb(("well",), ("bien",)),),
    "fast": (Adverb(("fast",), ("vite",)),),
    "early": (Adverb(("early",), ("tôt",)), Adverb(("late",), ("tard",))),
}
TIMES = (
    Adverb(("today",), ("aujourd'hui",)),
    Adverb(("every", "day"), ("tous", "les", "jours")),
    Adverb(("in", "the", "morning"), ("le", "matin")),
    Adverb(("this", "evening"), ("ce", "soir")),
)
# Preposition of place -> French, and the kinds of noun that can follow.
PLACES = {
    "in": (("dans",), frozenset({"inside"})),
    "at": (("à",), frozenset({"venue"})),
    "behind": (("derrière",), frozenset({"place", "cover"})),
    "near": (("près", "de"), frozenset({"place", "cover"})),
    "under": (("sous",), frozenset({"cover"})),
    "with": (("avec",), frozenset({"human", "animal"})),
}
CONJUNCTIONS = {"and": ("et",), "but": ("mais",), "because": ("parce", "que")}
QUESTION_WORDS = {"where": "où", "when": "quand", "why": "pourquoi"}


def reference(noun: Noun, plural: bool) -> Pronoun:
    """The pronoun that takes up a noun: French follows the noun's gender, English the living being's."""
    if plural:
        they = PRONOUNS["they"]
        french_subject = "elles" if noun.gender == "f" else "ils"
        return Pronoun(
            "they", "them", french_subject, they.french_direct, they.french_dative, "se", 4, noun.gender, True
        )
    model = PRONOUNS["she" if noun.gender == "f" else "he"]
    english = (model.subject, model.object) if "human" in noun.kinds else ("it", "it")
    return Pronoun(
        *english,
        model.french_subject,
        model.french_direct,
        model.french_dative,
        "se",
        2,
        noun.gender,
        refers=True,
    )


@cache
def adjectives_of(noun: Noun) -> tuple[Adjective, ...]:
    """The adjectives that make sense with a noun."""
    return tuple(adjective for adjective in ADJECTIVES.values() if adjective.kinds & noun.kinds)


@cache
def nouns_of(kinds: frozenset[str]) -> tuple[Noun, ...]:
    """The nouns of any of these kinds."""
    return tuple(noun for noun in NOUNS.values() if noun.kinds & kinds)
