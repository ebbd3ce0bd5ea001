"""Answers held against their own list: a table of good ones, and one of guesses."""

from __future__ import annotations

import pytest

from semmix.cues.grounding import ungrounded
from semmix.cues.types import CUE_TYPES, CueType

# What a frame shows, and six answers that a careful person could give about it.
GOOD = {
    "a young woman in a red coat; a rainy street at night; neon signs; parked cars": (
        "A young woman with wet dark hair and a red coat stands alone.",
        "She looks worried and tense.",
        "Close-up on the woman, who looks off to the left.",
        "Dark and cold, with saturated neon colours.",
        "A city street at night in the rain.",
        "Rain on the pavement, footsteps and distant traffic.",
    ),
    "an old man; a wooden desk; papers; a lamp": (
        "An elderly man with a beard bends over papers.",
        "His furrowed brow shows concentration.",
        "Medium shot on the man's hands and the papers.",
        "A warm, intimate picture in low light.",
        "A study or an office in the evening.",
        "The rustle of paper and a scratching pen.",
    ),
    "green hills; a river; clouds": (
        "Nobody is in the picture; hills stretch to the horizon.",
        "unknown",
        "Wide shot, a bird's-eye view of the valley.",
        "Calm and bright, in soft green tones.",
        "A river valley among green hills.",
        "Flowing water, wind and distant birds.",
    ),
    "two soldiers; rifles; a muddy trench; smoke": (
        "Two men in helmets crouch in the mud.",
        "They look exhausted and afraid.",
        "Medium shot of the two soldiers.",
        "Grim, desaturated and smoky.",
        "A trench on a battlefield.",
        "Gunfire, explosions and shouted orders.",
    ),
    "a pianist; a grand piano; a stage; an audience in the dark": (
        "A pianist in a black suit plays a grand piano.",
        "He looks absorbed and serene.",
        "Wide shot that singles out the man at the piano.",
        "Dark with one warm spotlight, solemn.",
        "A concert hall.",
        "Piano music, with no voices and no applause.",
    ),
    "a large grey rabbit; a meadow; trees; a butterfly": (
        "A fat rabbit sniffs a flower.",
        "The animal looks content.",
        "Medium shot on the rabbit.",
        "Bright and cheerful, like a summer day for a child.",
        "A meadow at the edge of a forest.",
        "Birdsong, humming insects and wind in the leaves.",
    ),
    "a police car; flashing lights; a crowd; a brick building": (
        "A crowd of people gathers around a police car.",
        "The people look anxious.",
        "Wide shot of the car in front of the building.",
        "Tense, lit by red and blue flashes.",
        "A street in front of a brick building at night.",
        "A siren, an idling engine and murmuring voices.",
    ),
    "a kitchen counter; a chef; a frying pan; steam": (
        "A man in a white apron tosses vegetables.",
        "He looks focused.",
        "Close-up on the frying pan.",
        "Warm and lively.",
        "A restaurant kitchen.",
        "Sizzling oil, clattering pans and the hiss of a gas flame on the stove.",
    ),
    "a spaceship; stars; a blue planet": (
        "A long silver spaceship drifts past a planet; nobody can be seen.",
        "unknown",
        "Wide shot of the ship against the planet.",
        "Vast, cold and silent.",
        "Outer space, in orbit around a planet.",
        "A low rumble of engines.",
    ),
    "a couple; a candle-lit table; wine glasses": (
        "A man and a woman sit face to face.",
        "They smile at each other, in love.",
        "Medium shot of the two people.",
        "Soft, golden and romantic light from the candle flames.",
        "A restaurant at dinner time.",
        "Quiet conversation and clinking glasses.",
    ),
    "a sailing boat; high waves; dark clouds": (
        "A small boat tilts in the waves.",
        "unknown",
        "Wide shot of the boat, tiny in the storm.",
        "Threatening and cold, almost black.",
        "The open ocean in a storm.",
        "Crashing waves, howling wind and thunder.",
    ),
    "a girl's face; tears; blurred background": (
        "A girl with freckles and tears on her cheeks.",
        "She is sad, like a child who has lost her dog.",
        "Extreme close-up on her eyes.",
        "Muted and melancholic.",
        "unknown",
        "Quiet sobbing and breathing.",
    ),
    # Written when the words were settled: 3 of these 58 sentences were refused at first, and none
    # of the guesses below got through.
    "a man in a suit; a bar counter; bottles; a bartender": (
        "A man in a dark suit holds a glass at a bar.",
        "He appears tired and resigned.",
        "Medium shot on the man at the counter.",
        "Dim, amber and lonely.",
        "A bar late at night.",
        "Clinking glasses, low chatter and ice in a tumbler.",
    ),
    "a horse; a rider; a dusty plain": (
        "A cowboy on a brown horse.",
        "The rider looks determined.",
        "Wide shot following the rider.",
        "Dry, sunlit and heroic.",
        "A desert plain.",
        "Galloping hooves, wind and a snorting horse.",
    ),
    "an empty corridor; fluorescent lamps; doors": (
        "An empty hospital corridor without any people.",
        "unknown",
        "Wide shot down the corridor.",
        "Cold, greenish and eerie.",
        "A hospital or school corridor.",
        "A faint electric hum.",
    ),
    "two children; a swing; a garden": (
        "Two kids play on a swing.",
        "They laugh and look happy.",
        "Medium shot of the girl on the swing.",
        "Bright and playful.",
        "A back garden in summer.",
        "Children's laughter, a creaking swing and birds.",
    ),
    "a crashed airplane; a jungle; wreckage": (
        "The broken fuselage of a plane lies among palms.",
        "unknown",
        "Wide shot of the wreck.",
        "Humid, hazy and ominous.",
        "A tropical jungle.",
        "Insects, dripping water and the crackle of a small fire.",
    ),
    "a robot; a laboratory; screens; cables": (
        "A humanoid robot with glowing eyes.",
        "It shows no emotion.",
        "Close-up on the robot's face.",
        "Clinical, blue and cold.",
        "A laboratory.",
        "Humming machines and beeping computers.",
    ),
    "a snowy mountain; a climber; ropes": (
        "A lone climber in an orange jacket hangs on a rope.",
        "He seems strained.",
        "Extreme wide shot that makes the person look tiny.",
        "Bright, icy and dangerous.",
        "A snow-covered mountain face.",
        "Strong wind, heavy breathing and crunching ice.",
    ),
    "a football field; players; a ball; floodlights": (
        "Several players chase the ball.",
        "They look driven.",
        "Wide shot of the field.",
        "Bright and energetic.",
        "A football stadium at night.",
        "A cheering crowd, a whistle and kicks.",
    ),
    "a fireplace; an armchair; a sleeping cat": (
        "A tabby cat sleeps in an armchair.",
        "The cat looks relaxed.",
        "Medium shot of the cat by the fire.",
        "Cosy and warm.",
        "A living room.",
        "A crackling fire and purring.",
    ),
    "a bus; commuters; rain on windows": (
        "Commuters stand close together in a bus.",
        "They look bored.",
        "Medium shot of the passengers.",
        "Grey and dull.",
        "Inside a city bus.",
        "Engine noise, rain and muffled voices.",
    ),
}

# Guesses, beside a list that gives no ground for them.
GUESSED = (
    ("sound", "A dragon breathes fire over Paris while an orchestra plays.", "a woman; a door"),
    ("appearance", "A dragon breathes fire over Paris.", "a woman; a door"),
    ("scene", "A dragon's lair by the ocean.", "a woman; a door"),
    ("tone", "Dramatic, with swelling orchestra music.", "an old man; a desk"),
    ("emotion", "The soldiers look afraid.", "green hills; a river"),
    ("camera_focus", "Close-up on a horse.", "a laptop; a coffee cup"),
    ("sound", "Soft piano music and a woman's voice.", "a laptop; a coffee cup"),
    ("sound", "A dog barks while sirens wail.", "a bookshelf; a candle"),
    ("sound", "Gunshots and screaming people.", "a meadow; trees"),
    ("sound", "Upbeat guitar music.", "a family; a dinner table"),
    ("sound", "Helicopter rotors and explosions.", "a bed; a sleeping child"),
    ("sound", "Laughter and conversation.", "a waterfall; rocks"),
    ("appearance", "Two men argue over a map.", "a waterfall; rocks"),
    ("appearance", "A glittering pinata swings.", "a waterfall; rocks"),
    ("appearance", "A pirate king with a sword.", "a vase; a window"),
    ("scene", "A harbour where ships unload.", "an office; computers"),
    ("camera_focus", "The camera follows a racing car.", "a bowl of fruit; a cloth"),
    ("sound", "Thunder and heavy rain.", "a bright desert; a camel"),
    ("sound", "Church bells and a choir.", "a tent; a lake"),
    ("sound", "Wolves howl.", "a tent; a tarpaulin"),
    ("appearance", "Three astronauts float.", "a tent; a lake"),
    ("sound", "A crowd cheers.", "a spoon; a plate"),
    ("scene", "A pirate ship at sea.", "a spoon; a plate"),
    ("tone", "Fiery, with flames in the dark.", "a spoon; a plate"),
    ("camera_focus", "Close-up on a pistol.", "a woman; flowers"),
    ("sound", "Screeching tires and a car crash.", "a woman; flowers"),
    ("sound", "A drum beats slowly.", "a woman; flowers"),
    ("emotion", "The child is frightened.", "a tent; a lake"),
    ("appearance", "A knight in armour.", "a tent; a lake"),
    ("sound", "Radio chatter.", "a tent; a lake"),
)

# Guesses in words that are not judged: what the check cannot do, kept in sight.
MISSED = (
    ("scene", "The Eiffel Tower in Paris.", "a woman; a door"),
    ("sound", "A dog barks.", "a cat; a sofa"),
    ("sound", "A clock ticks.", "a cat; a sofa"),
    ("appearance", "The woman is a famous actress who has just been divorced.", "a woman; a door"),
)


def test_the_tables_are_of_some_size():
    known = [text for answers in GOOD.values() for text in answers if text != "unknown"]
    assert len(known) > 60
    assert len(GUESSED) > 15


@pytest.mark.parametrize("visible", GOOD)
def test_no_good_answer_is_refused(visible):
    for cue_type, sentence in zip(CUE_TYPES, GOOD[visible], strict=True):
        if sentence != "unknown":
            assert ungrounded(cue_type, sentence, visible.split("; ")) is None, sentence


@pytest.mark.parametrize(("cue_type", "sentence", "visible"), GUESSED)
def test_a_guess_that_its_own_list_gives_no_ground_for_is_refused(cue_type, sentence, visible):
    problem = ungrounded(CueType(cue_type), sentence, visible.split("; "))
    assert problem is not None
    assert '"visible"' in problem


@pytest.mark.parametrize(("cue_type", "sentence", "visible"), MISSED)
def test_what_the_check_cannot_see_passes(cue_type, sentence, visible):
    assert ungrounded(CueType(cue_type), sentence, visible.split("; ")) is None


def test_the_answers_about_other_frames_are_often_refused():
    """Every good answer beside every other frame's list; mood and place name few things."""
    refused, tried = dict.fromkeys(CUE_TYPES, 0), dict.fromkeys(CUE_TYPES, 0)
    for frame, answers in GOOD.items():
        for other in GOOD:
            for cue_type, sentence in zip(CUE_TYPES, answers, strict=True):
                if other != frame and sentence != "unknown":
                    tried[cue_type] += 1
                    refused[cue_type] += (
                        ungrounded(cue_type, sentence, other.split("; ")) is not None
                    )
    shares = {cue_type: refused[cue_type] / tried[cue_type] for cue_type in CUE_TYPES}
    assert shares[CueType.APPEARANCE] > 0.5, shares
    assert shares[CueType.SOUND] > 0.3, shares
    assert shares[CueType.CAMERA_FOCUS] > 0.3, shares
