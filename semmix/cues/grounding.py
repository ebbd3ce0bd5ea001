"""Whether a sentence names things that the answer's own list of what is visible does not.

A model that guesses is caught where it contradicts itself: an orchestra is heard, and the list
has neither instrument nor player. Only words of the kinds below are judged, and any word of a
kind answers for the whole kind: a cat in the list lets a dog pass. A list that is wrong itself
cannot be found out here, only by a person who looks at the picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from semmix.cues.types import CueType


@dataclass(frozen=True, slots=True)
class _Kind:
    """Things of one kind.

    Attributes:
        named: words that need evidence where a sentence has them, in the singular.
        evidence: words that are evidence in a list, besides these.
    """

    named: frozenset[str]
    evidence: frozenset[str]


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _kind(named: str, evidence: str) -> _Kind:
    return _Kind(_set_of(named), _set_of(evidence))


_PEOPLE = _kind(
    "man woman boy girl child kid baby person crowd couple family audience lady gentleman guy "
    "soldier police policeman policewoman king queen knight priest nun doctor nurse singer dancer "
    "driver passenger pedestrian student teacher worker villager tourist monk bride groom",
    "adult human people face eye hand finger hair head arm leg foot lip mouth shoulder torso body "
    "figure silhouette somebody someone player rider actor actress character hero teenager toddler "
    "officer guard waiter waitress chef sailor pilot surgeon detective farmer hunter hiker runner "
    "dad mom father mother son daughter brother sister friend prisoner gunman team group elder "
    "customer shopper driver dancer speaker reporter boxer swimmer skier climber robot statue doll "
    "portrait mannequin alien astronaut zombie youth male female blonde beard",
)
# These end words for people that no list can have all of, and the common words for other things.
_PEOPLE_ENDINGS = ("man", "woman", "ist", "ian", "person", "er", "or")
_NO_PEOPLE = _set_of(
    "water river paper computer flower tower corner counter door floor mirror color over under "
    "summer winter dinner letter poster monitor layer leather feather weather shutter gutter "
    "border ladder trailer container tiger spider panther otter motor tractor reactor corridor "
    "interior exterior armor harbor sensor thunder helicopter laser number timber powder shower "
    "drawer tiger cover roller burner cooker shelter center silver boulder fender propeller "
    "elevator escalator generator radiator refrigerator printer scooter cooler planter glacier "
    "crater meteor butter pepper hamburger supper anchor lumber amber vapor decor outdoor indoor "
    "spacer toaster speaker locker tracker freezer dresser cylinder cluster ginger hanger"
)

_VOICES = _kind(
    "voice conversation dialogue speech chatter laughter applause",
    " ".join(_PEOPLE.named | _PEOPLE.evidence)
    + " tv television radio phone telephone screen loudspeaker megaphone puppet animal rabbit",
)

_KINDS = (
    _PEOPLE,
    _VOICES,
    _kind(
        "music song melody orchestra piano guitar violin cello drum trumpet saxophone flute harp "
        "choir symphony",
        "instrument musician band player singer pianist guitarist drummer violinist organ keyboard "
        "accordion banjo radio gramophone jukebox turntable loudspeaker speaker headphone "
        "microphone stage concert dancer disco dj church bow string parade",
    ),
    _kind(
        "dog cat horse cow sheep goat pig lion tiger elephant wolf fox deer rabbit monkey snake "
        "shark whale dolphin dinosaur dragon monster crocodile camel donkey animal",
        "puppy kitten bear squirrel chinchilla hare rodent cattle herd pony foal bull ox lamb fish "
        "creature beast paw fur tail mammal reptile lizard frog ape gorilla zebra giraffe hound "
        "terrier retriever labrador carriage saddle bird",
    ),
    _kind(
        "bird insect bee cricket butterfly eagle owl crow seagull parrot chicken rooster pigeon",
        "animal tree meadow forest wood garden field park grass leaf leaves branch bush flower sky "
        "jungle hill countryside farm swamp marsh reed pond lake river nest wing feather gull coop "
        "cage beach sea ocean coast harbour harbor cliff valley mountain orchard vineyard plant "
        "foliage vegetation hedge roof square",
    ),
    _kind(
        "car truck lorry bus van taxi motorcycle motorbike train tram plane aeroplane airplane "
        "aircraft jet helicopter spaceship spacecraft rocket engine traffic siren submarine tank",
        "vehicle automobile limousine jeep suv pickup ambulance scooter bike tractor ship boat "
        "carriage wagon wheel steering dashboard windshield windscreen headlight tyre tire road "
        "street highway motorway bridge tunnel track rail railway station platform airport runway "
        "garage parking cockpit cabin machine drone city avenue lane cable crossing cart sedan",
    ),
    _kind(
        "boat ship ocean waterfall",
        "water wave sea lake river pond coast shore beach harbour harbor port dock pier sail mast "
        "deck ferry yacht canoe kayak raft vessel submarine stream cliff oar horizon anchor",
    ),
    _kind(
        "fire flame bonfire campfire explosion",
        "smoke candle torch lighter match fireplace hearth stove grill ember spark blaze lava "
        "wreckage wreck crashed burnt burned kitchen cooker cook chef pan pot volcano bomb burning "
        "oven chimney rocket blast fireball firework gun tank lantern",
    ),
    _kind(
        "rain rainstorm thunder thunderstorm",
        "cloud storm umbrella puddle drop droplet raincoat lightning wet sky water window",
    ),
    _kind(
        "gun rifle pistol revolver gunshot gunfire sword dagger machinegun",
        "weapon firearm shotgun knife blade soldier army battle bullet police officer gunman "
        "holster cannon tank muzzle warrior knight guard hunter sniper bow axe spear cowboy",
    ),
)

_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "person",
    "wolves": "wolf",
    "feet": "foot",
    "policemen": "policeman",
}
# What looks like a thing and is none, or is another thing.
_PHRASES = re.compile(
    r"bird'?s[- ]eye|worm'?s[- ]eye|fish[- ]?eye|fire (?:truck|engine|escape|station|hydrant)"
    r"|sea of|traffic light|train of|rain ?coat|cat'?s[- ]eye|piano black"
)
# What follows is said not to be there.
_DENIED = frozenset(("no", "not", "without", "nobody", "never", "neither", "nor"))
_REACH = 4
# A comparison, to the end of its clause.
_COMPARED = re.compile(r"(?<!sounds )\b(?:like|as if|as though)\b[^,;.]*")
_NOBODY = frozenset(("nobody", "none", "empty", "no", "unoccupied", "deserted"))
_COMMON = _set_of(
    "a an the is are of in on at with and or to from into over under by for his her their its it "
    "this that there one two three four several many some who which while as against picture frame "
    "image shot scene main subject wearing wears looking looks has have stands sits dark light "
    "bright red blue green white black grey gray brown yellow small large big young old"
)


def ungrounded(cue_type: CueType, sentence: str, visible: Iterable[str]) -> str | None:
    """What is wrong with a sentence beside the list it should rest on, in words for the model.

    Args:
        cue_type: which question it answers.
        sentence: the answer.
        visible: the answer's own list of what can be seen.

    Returns:
        None where nothing speaks against it, which is no proof that it is true.
    """
    listed = {_singular(word) for item in visible for word in re.findall(r"\w+", item.casefold())}
    words = _words_in_order(sentence)
    backed = False
    for place, word in enumerate(words):
        kinds = [kind for kind in _KINDS if word in kind.named]
        if not kinds:
            continue
        # Part of a listed word will do: the ship of a spaceship, rain in a rainy street.
        if any(word in other for other in listed) or any(_has(kind, listed) for kind in kinds):
            backed = True
        elif not _DENIED & set(words[max(0, place - _REACH) : place]):
            return f'names "{word}", of which "visible" has nothing'
    carried = backed or bool((listed - _COMMON) & set(words)) or bool(_NOBODY & set(words))
    if cue_type == CueType.APPEARANCE and not carried:
        return 'describes nothing that stands in "visible"'
    return None


def _words_in_order(sentence: str) -> Sequence[str]:
    plain = _PHRASES.sub(" ", sentence.casefold().replace("\u2019", "'"))
    plain = _COMPARED.sub(" ", plain)
    return [_singular(word) for word in re.findall(r"\w+", plain.replace("'s", " "))]


def _has(kind: _Kind, listed: Iterable[str]) -> bool:
    return any(
        word in kind.named
        or word in kind.evidence
        or (kind in (_PEOPLE, _VOICES) and _names_people(word))
        for word in listed
    )


def _names_people(word: str) -> bool:
    return word.endswith(_PEOPLE_ENDINGS) and word not in _NO_PEOPLE


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us")) else word
