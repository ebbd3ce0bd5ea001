"""What ImageNet classes mean for the ear: the hand-curated table behind subject, scene and sound.

Each row gathers classes that sound and read alike: a label, what kind of subject it is (empty
for a mere place), its family, where it is found, what it sounds like, and the class numbers of
ILSVRC-2012. Clothes, jewellery and other things that say nothing about a film's sound have no
row: pictures of people are full of them. `trust` below 1 marks classes that the classifier also
sees in drawings and plain shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Thing:
    """A group of classes.

    Attributes:
        label: singular noun without article; empty where only the scene is told.
        kind: `animal`, `vehicle`, `object`, or empty for a place.
        family: name in `FAMILIES`, or empty.
        scene: noun phrase with article, or empty.
        sounds: noun phrases, the likeliest first.
        ids: class numbers, 0 to 999.
        trust: factor on the probability.
    """

    label: str
    kind: str
    family: str
    scene: str
    sounds: tuple[str, ...]
    ids: tuple[int, ...]
    trust: float = 1.0


@dataclass(frozen=True, slots=True)
class Family:
    """Several groups that may be surely told together when none of them can be told alone.

    Attributes:
        label: noun without article, or empty for the bare kind.
        kind: as in `Thing`.
        floor: probability from which it is believed; high where many classes make it up.
    """

    label: str
    kind: str
    floor: float


FAMILIES: dict[str, Family] = {
    "dog": Family("dog", "animal", 0.9),
    "cat": Family("cat", "animal", 0.6),
    "big cat": Family("big cat", "animal", 0.6),
    "bird": Family("bird", "animal", 0.6),
    "insect": Family("insect", "animal", 0.6),
    "fish": Family("fish", "animal", 0.6),
    "reptile": Family("reptile", "animal", 0.6),
    "monkey": Family("monkey", "animal", 0.7),
    "car": Family("car", "vehicle", 0.5),
    "truck": Family("truck", "vehicle", 0.5),
    "train": Family("train", "vehicle", 0.5),
    "boat": Family("boat", "vehicle", 0.5),
    "ship": Family("ship", "vehicle", 0.5),
    "aircraft": Family("aircraft", "vehicle", 0.5),
    "gun": Family("gun", "object", 0.5),
    "guitar": Family("guitar", "object", 0.5),
    "wind instrument": Family("wind instrument", "object", 0.5),
    "musical instrument": Family("musical instrument", "object", 0.6),
}

LANDSCAPE_SCENES = (
    "a mountain range", "a mountain valley", "a lake", "a seashore", "a cliff", "a volcano",
    "a field of flowers",
)  # fmt: skip
"""Scenes without a subject: nature seen from afar."""

# label | kind | family | scene | sounds | class numbers | trust (1 where left out)
_TABLE = """
fish|animal|fish|||0 1 389-391 394 395
shark|animal|fish|an underwater world|bubbles|2-4
ray|animal|fish|an underwater world|bubbles|5 6
fish|animal|fish|an underwater world|bubbles|392 393 396 397
rooster|animal|bird|a farmyard|animal calls|7
hen|animal|bird|a farmyard|animal calls|8
ostrich|animal|bird|||9
songbird|animal|bird||birds|10-20
bird of prey|animal|bird||birds|21-23
owl|animal|bird||birds|24
salamander|animal|reptile|||25-29
frog|animal|||animal calls,running water|30-32
turtle|animal|reptile|||33-37
lizard|animal|reptile|||38-48
crocodile|animal|reptile|||49 50
dinosaur|animal|||animal calls|51
snake|animal|reptile|||52-68
scorpion|animal|insect|||71
spider|animal|insect|||70 72-77 815
centipede|animal|insect|||79
grouse|animal|bird||birds|80-83 85 86
peacock|animal|bird||birds|84
parrot|animal|bird||birds|87-90
bird|animal|bird||birds|91-93 95 138
hummingbird|animal|bird||birds,insects|94
toucan|animal|bird||birds|96
duck|animal|bird|a lake|birds,water|97 98
goose|animal|bird||birds|99
swan|animal|bird|a lake|birds,water|100
elephant|animal|||animal calls|101 385 386
kangaroo|animal||||104
koala|animal||||105
wombat|animal||||106
jellyfish|animal||an underwater world|bubbles|107|0.6
sea anemone|animal||an underwater world|bubbles|108
snail|animal||||113
slug|animal||||114 115
crab|animal|||water|118-121 125
lobster|animal||||122-124
wading bird|animal|bird||birds,water|127-137 139-143
pelican|animal|bird||birds,water|144
penguin|animal|bird||birds|145
seabird|animal|bird||birds,waves|146
whale|animal||the open sea|waves|147 148
sea lion|animal|||animal calls,water|149 150
dog|animal|dog||barking|151-268
wolf|animal|||animal calls|269-271
wild dog|animal|||animal calls|272-275
hyena|animal|||animal calls|276
fox|animal||||277-280
cat|animal|cat||animal calls|281-285
big cat|animal|big cat||animal calls|286 288-290
lynx|animal|big cat|||287
lion|animal|big cat||animal calls|291
tiger|animal|big cat||animal calls|292
cheetah|animal|big cat||animal calls|293
bear|animal|||animal calls|294 295 297
polar bear|animal||a snowy plain|animal calls,wind|296
mongoose|animal||||298
meerkat|animal||||299
beetle|animal|insect||insects|300-307
fly|animal|insect||insects|308
bee|animal|insect||insects|309 410 599
ant|animal|insect|||310
grasshopper|animal|insect||insects|311
cricket|animal|insect||insects|312
insect|animal|insect||insects|313-315 317 318
cicada|animal|insect||insects|316
dragonfly|animal|insect||insects,water|319 320
butterfly|animal|insect||insects|321-326
starfish|animal||||327
rabbit|animal||||330-332
hamster|animal||||333 338
porcupine|animal||||334
squirrel|animal||||335
marmot|animal||||336
beaver|animal|||water|337
horse|animal|||hooves|339
zebra|animal|||hooves|340
pig|animal||a farmyard|animal calls|341
wild boar|animal|||animal calls|342 343
hippopotamus|animal|||water,animal calls|344
ox|animal||a pasture|animal calls|345
buffalo|animal|||animal calls|346 347
sheep|animal||a pasture|animal calls|348 349
mountain goat|animal|||animal calls|350
antelope|animal||||351-353
camel|animal||||354
llama|animal||||355
weasel|animal||||356-359
otter|animal|||water|360
skunk|animal||||361
badger|animal||||362
armadillo|animal||||363
sloth|animal||||364
ape|animal|monkey||animal calls|365-369
monkey|animal|monkey||animal calls|370-382
lemur|animal|||animal calls|383 384
red panda|animal||||387
panda|animal||||388
accordion|object|musical instrument||music|401
guitar|object|guitar||music|402 420 546
piano|object|musical instrument||music|579 881
violin|object|musical instrument||music|889
cello|object|musical instrument||music|486
drum|object|musical instrument||music|541 822
trumpet|object|wind instrument||music|513 566
trombone|object|wind instrument||music|875
saxophone|object|wind instrument||music|776
flute|object|wind instrument||music|558
oboe|object|wind instrument||music|432 683
organ|object|musical instrument|a church|music|687
harp|object|musical instrument||music|594
harmonica|object|wind instrument||music|593 684 699
percussion instrument|object|musical instrument||music|577 641 642|0.7
microphone|object|||a voice,music|650
loudspeaker|object|||music|632
record player|object|||music|754 848 482 485
||||applause|854
|||a stage|music,applause|819
|||a theatre|voices|498
car|vehicle|car|a road|an engine,tyres|436 479 511 535 581 609 627 656 661 717 817
taxi|vehicle|car|a street|an engine,traffic|468
racing car|vehicle|car|a race track|an engine,tyres|573 751
police car|vehicle|car|a street|a siren,an engine|734
ambulance|vehicle|car|a street|a siren,an engine|407
fire engine|vehicle|truck|a street|a siren,an engine|555
truck|vehicle|truck|a road|an engine|569 675 864 867
camper van|vehicle|truck|a road|an engine|757 660
minibus|vehicle|truck|a road|an engine|654
bus|vehicle|truck|a street|an engine,traffic|779 874
train|vehicle|train|a railway|a train|466 565 705
locomotive|vehicle|train|a railway|a train|547
steam locomotive|vehicle|train|a railway|a train,steam|820
tram|vehicle|train|a street|a tram,traffic|829
motor scooter|vehicle|||an engine|665 670
bicycle|vehicle|||wheels|444 671 870
aeroplane|vehicle|aircraft||an engine|404 895 908
airship|vehicle|aircraft||an engine|405
hot-air balloon|vehicle|aircraft||wind|417|0.5
rocket|vehicle|||an engine|657 744 812|0.8
warship|vehicle|ship|the open sea|an engine,waves|403
ship|vehicle|ship|the open sea|an engine,waves|510 554 628
sailing ship|vehicle|ship|the open sea|waves,wind|724 780
boat|vehicle|boat||water|472 576 625
speedboat|vehicle|boat|the open sea|an engine,waves|814
sailing boat|vehicle|boat|the open sea|waves,wind|484 871 914
submarine|vehicle||the open sea|an engine,water|833
tractor|vehicle||a field|an engine|866
harvester|vehicle||a field|an engine,machinery|595 730 856
tank|vehicle|||an engine,explosions|408 586 847
forklift|vehicle||a warehouse|an engine|561
snowplough|vehicle||a snowy road|an engine|803
snowmobile|vehicle||a snowy plain|an engine|802
dog sled|vehicle||a snowy plain|barking,wind|537
golf cart|vehicle|||an engine|575
horse cart|vehicle|||hooves,wheels|603 690
rickshaw|vehicle||a street|wheels,traffic|612
lawn mower|object||a garden|a motor|621|0.7
rifle|object|gun||gunshots|413 764
revolver|object|gun||gunshots|763
cannon|object|||explosions|471
suit of armour|object|||clashing metal|461 490 524 787
chainsaw|object|||a motor,tools|491
drill|object|||tools|740
hammer|object|||tools|587
axe|object|||tools|596
sewing machine|object|||machinery|786
crane|object||a building site|machinery|517
oil rig|object||the open sea|machinery,waves|540|0.6
|||a sawmill|machinery|634
vacuum cleaner|object|||a motor|882
washing machine|object|||machinery,water|534 897
hair dryer|object|||a motor|589
fan|object|||a motor|545
kitchen appliance|object||a kitchen|clatter|521 544 550 651 766 827 859 891
pan|object||a kitchen|clatter|567 909
teapot|object|||clatter|505 849
|||a kitchen||729 760
cup|object|||clatter|504 967 968
computer|object||an office|typing|527 620 664 782
keyboard|object|||typing|508 810 878
|||an office||526 681 713 742
television|object||a living room|voices|851 598 548
|||a living room||831
|||a bedroom||516 520 564 750
|||a bathroom|running water|435 648 794 861 876 896
|||a room with bookshelves||453 454 624
|||a shop|voices|415 424 467 509 582 788 860 865
|||a restaurant|voices,clatter|762
dish|object|||clatter|923-928 933-935 959 962-965
piece of fruit|object||||948-957
telephone|object|||a ringing telephone|528 707
clock|object|||a ticking clock|409 530 604 826 892|0.7
candle|object||||470
umbrella|object|||rain|879
|||a church||406 442 497 663 884
|||a mosque||668
|||a temple||832
|||a palace||698
|||a castle||483
|||a lighthouse on the coast|waves|437|0.4
|||a bridge||821 839 888
|||a harbour|waves|449 460 536 718
|||a street|traffic|704 919 920
|||a greenhouse||580
|||a prison||743
|||a farm||425 958
|||a camp site||672
|||a fairground|music,voices|476
|||a gym||416 422 543 602 702 747
|||a sports ground|a crowd|429 430 560 768 781 805 890 981
|||a fountain|running water|562
|||a dam|running water|525
|||a coral reef|bubbles|973 983
|||a geyser|steam|974
|||a meadow|insects,birds|985 986
|||a forest floor||991-997
|||a field of flowers|insects,wind|984
|||a mountain range|wind|970
|||a cliff|wind|972
|||a mountain valley|wind|979
|||a lake|water|975
|||a seashore|waves|976-978
|||a volcano|rumbling|980
|||a ski slope|wind|795 450
"""


def _parse_ids(text: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in text.split():
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return tuple(numbers)


@lru_cache(maxsize=1)
def things() -> tuple[Thing, ...]:
    """The table, in its written order."""
    rows = []
    for line in _TABLE.strip().splitlines():
        label, kind, family, scene, sounds, ids, *trust = line.split("|")
        rows.append(
            Thing(
                label=label,
                kind=kind,
                family=family,
                scene=scene,
                sounds=tuple(sound for sound in sounds.split(",") if sound),
                ids=_parse_ids(ids),
                trust=float(trust[0]) if trust else 1.0,
            )
        )
    return tuple(rows)
