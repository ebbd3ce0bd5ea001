"""Cue sentences in many wordings, for all six types and every situation of the policy.

A picture model, a language model and a person all say the same thing differently. Each
situation lists templates for each cue type; `{...}` slots are filled from the lists below.
Cues that say little about the balance (a neutral face, a grey sky) appear under several
situations on purpose: the network must weigh cues, not look them up.
"""

from __future__ import annotations

import re

import numpy as np

from semmix.cues.types import CueType

SLOTS: dict[str, tuple[str, ...]] = {
    "person": (
        "a man", "a woman", "a person", "an old man", "a young woman", "a boy", "a girl",
        "a bearded man", "a presenter", "a soldier", "a doctor", "a teacher", "an actor",
    ),
    "people": (
        "people", "several people", "a group of friends", "a family", "many people", "a crowd",
        "two people", "colleagues", "children", "passers-by", "guests",
    ),
    "beast": (
        "a rabbit", "a bird", "a dog", "a cat", "a horse", "a squirrel", "a butterfly", "a lion",
        "a fox", "a deer", "a duck", "an owl", "a frog", "a cow", "a sheep", "an insect",
        "a bear", "an elephant", "a hen", "a fish",
    ),
    "vehicle": (
        "a car", "a truck", "a train", "a motorcycle", "a tank", "a bus", "an aeroplane",
        "a tractor", "a ship", "a racing car", "a helicopter", "a crane", "a locomotive",
    ),
    "machine": (
        "a machine", "an engine", "a drill", "a saw", "factory machinery", "a printing press",
        "a lawn mower", "a hammer and an anvil", "a power tool", "a conveyor belt",
    ),
    "weapon": (
        "a gun", "a sword", "a cannon", "a rifle", "a bow and arrow", "a grenade", "a missile",
        "a revolver", "a shield and a spear",
    ),
    "instrument": (
        "a guitar", "a piano", "a violin", "a drum kit", "a trumpet", "a saxophone", "a cello",
        "a flute", "an accordion", "a harp", "a microphone on a stage",
    ),
    "vista": (
        "a mountain range", "a valley", "a desert", "a coast", "a wide meadow", "a snowy plain",
        "rolling hills", "a canyon", "a lake", "a volcano", "a city skyline", "the sky and clouds",
    ),
    "wild": (
        "a forest", "a brook", "a waterfall", "a pond", "a garden", "a farmyard", "a meadow",
        "a jungle", "the shore", "a river bank", "a field with flowers", "a tree",
    ),
    "room": (
        "an office", "a living room", "a kitchen", "a studio", "a classroom", "a plain room",
        "an interview set", "a bedroom", "a car interior", "a courtroom",
    ),
    "street": (
        "a busy street", "a market", "a restaurant", "a railway station", "a party", "a square",
        "a shop", "a waiting hall", "an airport", "a harbour",
    ),
}  # fmt: skip

A, E, F, T, S, N = CueType

WORDINGS: dict[str, dict[CueType, tuple[str, ...]]] = {
    "dialogue": {
        A: (
            "{person} fills the picture.", "{person} faces the camera.",
            "{person} is talking to the camera.", "{person} speaks, lips moving.",
            "One person is visible: {person}.", "{person} sits and explains something.",
            "A face fills the picture.", "A person, seen from the chest up.",
        ),
        E: (
            "The person looks neutral.", "The person looks calm.", "The face is calm and attentive.",
            "{person} looks friendly.", "The person looks happy.", "No strong emotion is visible.",
        ),
        F: (
            "Close-up on one face.", "Medium close-up of {person}.", "The camera stays on the speaker.",
            "Medium shot on one person.", "A talking-head shot, eyes to the camera.",
            "The focus is on the face of {person}.",
        ),
        T: (
            "A bright, calm picture.", "Even light and a still camera.", "Neutral colours, little motion.",
            "A calm picture of medium brightness.", "Soft indoor light.", "A still, muted picture.",
        ),
        S: (
            "The scene is {room}.", "Indoors, {room}.", "{room} with a plain background.",
            "The background is {room}, out of focus.",
        ),
        N: (
            "Likely sounds: a voice.", "Likely sounds: speech.", "{person} speaking.",
            "Somebody is talking.", "The sound comes from the mouth of {person}: speech.",
        ),
    },
    "crowd": {
        A: (
            "{people} are visible.", "{people} talk to each other.", "A group of people fills the picture.",
            "{people} walk through {street}.", "Several faces in the picture.", "{people} sit at a table.",
        ),
        E: (
            "The people look lively.", "The people look happy.", "The people look neutral.",
            "Cheerful faces.", "No strong emotion is visible.",
        ),
        F: (
            "Medium shot on a group of people.", "Wide shot of {people}.", "The camera moves between {people}.",
            "The focus is on a conversation in a group.", "Medium shot of several people.",
        ),
        T: (
            "A lively picture with warm light.", "Busy, colourful, everyday light.",
            "A bright, lively picture.", "Warm colours and constant small movements.",
        ),
        S: (
            "The scene is {street}.", "{street} full of people.", "Outdoors in {street}.",
            "A public place: {street}.",
        ),
        N: (
            "Likely sounds: voices and a crowd.", "Likely sounds: many voices and footsteps.",
            "{people} talking, footsteps, clatter.", "A conversation with the murmur of {street}.",
        ),
    },
    "drama": {
        A: (
            "{person} stands alone and silent.", "{person} with tears in the eyes.",
            "A lonely figure: {person}.", "{person} looks down.", "{person} holds a letter and says nothing.",
        ),
        E: (
            "The person looks sad.", "The person looks afraid.", "Grief shows on the face.",
            "{person} looks desperate.", "The face shows longing.", "A fearful, tense expression.",
        ),
        F: (
            "Close-up on eyes and a closed mouth.", "Slow close-up on one silent face.",
            "The camera lingers on {person}.", "Close-up on one face.",
            "The focus is on a trembling hand.",
        ),
        T: (
            "A dark, cold and still picture.", "Dim light, muted colours.", "A gloomy, melancholic mood.",
            "Dark and slow, deep shadows.", "A dim, muted and still picture.",
        ),
        S: (
            "The scene is a dark room.", "{room} at night, empty.", "A cemetery in the rain.",
            "A hospital corridor.", "A window at dusk.",
        ),
        N: (
            "Likely sounds: silence and breathing.", "Nobody speaks.", "A quiet moment without words.",
            "Hardly any sound from the scene itself.",
        ),
    },
    "action": {
        A: (
            "{person} holds {weapon}.", "{weapon} is visible.", "{people} fight with {weapon}.",
            "Something explodes.", "{weapon} fills the picture.", "Fighters clash.",
            "Characters throw things and run.",
        ),
        E: (
            "The person looks angry.", "Rage on the faces.", "{person} looks furious.",
            "The people look afraid.", "Aggressive, tense faces.",
        ),
        F: (
            "Fast cuts on a fight.", "The camera follows a blow.", "The focus is on {weapon}.",
            "Close-up on {weapon}.", "Shaky camera, quick pans after the fighters.",
        ),
        T: (
            "A fast, hectic picture.", "Harsh contrast and rapid motion.", "Fire light, smoke, flashes.",
            "A dark, fast picture.", "A vivid, fast picture full of violent movement.",
        ),
        S: (
            "The scene is a battlefield.", "A burning building.", "A street with gunfire.",
            "The scene is an arena.", "Ruins and smoke.", "A castle under attack.",
        ),
        N: (
            "Likely sounds: gunshots and explosions.", "Likely sounds: blows and clashing metal.",
            "{weapon} being fired.", "Explosions, impacts, breaking glass.", "Swords clash.",
        ),
    },
    "machine": {
        A: (
            "{vehicle} fills the picture.", "{vehicle} is visible.", "{machine} is running.",
            "{vehicle} drives past.", "{machine} fills the picture.",
        ),
        E: ("No strong emotion is visible.", "Nobody is visible.", "The worker looks focused."),
        F: (
            "Medium shot on {vehicle}.", "Close-up on {machine}.", "The camera follows {vehicle}.",
            "The focus is on {machine} at work.", "Tracking shot along {vehicle}.",
        ),
        T: (
            "A lively picture with hard light.", "Cold, metallic colours.", "A bright, fast picture.",
            "Grey tones and steady motion.", "A cold and lively picture.",
        ),
        S: (
            "The scene is a road.", "The scene is a workshop.", "A factory hall.", "A motorway.",
            "A railway line.", "A building site.", "A race track.", "An airfield.",
        ),
        N: (
            "Likely sounds: an engine.", "Likely sounds: machinery and metal.", "{vehicle} passing by.",
            "The noise of {machine}.", "Motors, wheels, hammering.",
        ),
    },
    "nature": {
        A: (
            "{beast} fills the picture.", "{beast} is visible.", "{beast} moves through {wild}.",
            "{beast} in {wild}.", "Water runs over stones.", "{beast} looks into the camera.",
            "A cartoon animal: {beast}.",
        ),
        E: (
            "No strong emotion is visible.", "The animal looks curious.", "Nobody is visible.",
            "{beast} seems relaxed.",
        ),
        F: (
            "Close-up on {beast}.", "Medium shot on {beast}.", "The camera watches {beast} closely.",
            "The focus is on {wild}.", "Close-up on running water.", "Medium shot of {wild}.",
        ),
        T: (
            "A bright, warm and calm picture.", "Sunlight on green leaves.", "Vivid natural colours.",
            "A bright, vivid and lively picture.", "Daylight, soft greens, gentle motion.",
        ),
        S: (
            "The scene is {wild}.", "Outdoors in {wild}.", "{wild} in the morning.",
            "Wild nature: {wild}.", "The scene is {wild} in the rain.",
        ),
        N: (
            "Likely sounds: running water and birds.", "Likely sounds: bird song.",
            "Likely sounds: {beast}.", "Birds sing, water runs.", "Wind in the leaves and {beast}.",
            "Rain and thunder.", "The call of {beast}.",
        ),
    },
    "landscape": {
        A: (
            "No person or animal is visible.", "{vista} fills the picture.", "Tiny figures in {vista}.",
            "An empty view: {vista}.", "{vista} from above.",
        ),
        E: ("Nobody is visible.", "No strong emotion is visible.", "A solemn, majestic feeling."),
        F: (
            "Wide shot of {vista}.", "Wide shot of a landscape with nobody in it.",
            "An aerial view of {vista}.", "The camera pans slowly over {vista}.",
            "Extreme wide establishing shot.",
        ),
        T: (
            "A bright, cold and still picture.", "Golden evening light, slow camera.",
            "Majestic, calm and wide.", "A bright, muted and still picture.", "A hazy, quiet picture.",
        ),
        S: (
            "The scene is {vista}.", "A panorama: {vista}.", "{vista} at sunrise.",
            "Outdoors, {vista} under a big sky.",
        ),
        N: (
            "Likely sounds: wind.", "Likely sounds: soft wind, far away.", "Only a faint breeze.",
            "Hardly any sound of its own: {vista}.",
        ),
    },
    "performance": {
        A: (
            "{person} plays {instrument}.", "{instrument} fills the picture.", "A band on a stage.",
            "Dancers move together.", "{instrument} is visible.", "{people} celebrate and dance.",
        ),
        E: (
            "The person looks happy.", "Joy on the faces.", "The musician looks absorbed.",
            "Excited, laughing faces.",
        ),
        F: (
            "Close-up on {instrument}.", "Medium shot on {person} with {instrument}.",
            "The camera follows the dancers.", "The focus is on the hands on {instrument}.",
            "Wide shot of a stage.",
        ),
        T: (
            "A vivid, lively picture.", "Coloured stage lights.", "Bright, festive and rhythmic.",
            "A warm, vivid and lively picture.", "Spotlights in a dark hall.",
        ),
        S: (
            "The scene is a concert stage.", "A dance floor.", "The scene is a ballroom.",
            "A festival at night.", "A theatre with an audience.", "A music studio.",
        ),
        N: (
            "Likely sounds: music.", "Likely sounds: {instrument}.", "{instrument} being played.",
            "A band plays, people clap.", "Music and applause.",
        ),
    },
}  # fmt: skip

_SLOT = re.compile(r"\{(\w+)\}")


def sentence(situation: str, cue_type: CueType, rng: np.random.Generator) -> str:
    """Draw one wording of one cue.

    Args:
        situation: name of a situation of the policy.
        cue_type: which of the six.
        rng: source of chance.

    Returns:
        a sentence with a capital letter at its start.
    """
    templates = WORDINGS[situation][cue_type]
    text = str(templates[int(rng.integers(len(templates)))])
    text = _SLOT.sub(lambda m: SLOTS[m[1]][int(rng.integers(len(SLOTS[m[1]])))], text)
    return text[0].upper() + text[1:]
