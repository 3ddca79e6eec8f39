//! The words of the stories. Lists are disjoint where a question must tell them apart.

/// People; each is one token with its leading space.
pub const NAMES: [&str; 32] = [
    "Mia", "Tom", "Ben", "Eva", "Sam", "Ida", "Leo", "Pia", "Max", "Zoe", "Ned", "Lia", "Rex", "Ann", "Kai", "Oda",
    "Jon", "Amy", "Tim", "Una", "Gus", "Fay", "Hal", "Joy", "Roy", "Meg", "Dan", "Ivy", "Ken", "Sue", "Vic", "Wes",
];

/// Where people are.
pub const PLACES: [&str; 28] = [
    "garden", "kitchen", "library", "market", "harbor", "attic", "cellar", "barn", "studio", "chapel", "office",
    "museum", "station", "bakery", "school", "theater", "stable", "bank", "hotel", "castle", "forest", "park",
    "tunnel", "factory", "hospital", "court", "cave", "lobby",
];

/// What people count.
pub const OBJECTS: [&str; 16] = [
    "apples", "coins", "shells", "pens", "cards", "rings", "books", "eggs", "cups", "keys", "stamps", "toys", "nuts",
    "stones", "buttons", "candles",
];

/// Words for getting more of something.
pub const GAINS: [&str; 4] = ["finds", "buys", "wins", "gets"];

/// Words for having less of something.
pub const LOSSES: [&str; 4] = ["loses", "drops", "sells", "breaks"];

/// In order.
pub const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// First words of a step.
pub const ACTIONS: [&str; 20] = [
    "boil", "cut", "add", "stir", "wash", "mix", "heat", "open", "close", "fill", "press", "shake", "weigh", "clean",
    "dry", "turn", "fold", "lift", "cool", "paint",
];

/// Second words of a step.
pub const THINGS: [&str; 24] = [
    "water", "bread", "salt", "soup", "sugar", "flour", "paper", "cloth", "glue", "ink", "tea", "milk", "oil", "wood",
    "clay", "sand", "wire", "glass", "wax", "rope", "rice", "honey", "butter", "steel",
];

/// Filler: what something is like.
pub const QUALITIES: [&str; 36] = [
    "quiet", "old", "cold", "warm", "small", "heavy", "bright", "dark", "calm", "busy", "long", "wide", "gray",
    "narrow", "soft", "empty", "gentle", "slow", "distant", "broken", "golden", "silver", "silent", "hidden",
    "strange", "familiar", "young", "pale", "deep", "high", "low", "rough", "smooth", "gloomy", "dusty", "fresh",
];

/// Filler: who or what does something.
pub const SUBJECTS: [&str; 48] = [
    "dog", "cat", "bird", "boat", "train", "storm", "cloud", "lamp", "clock", "river", "tree", "bus", "horse", "fox",
    "owl", "wind", "rain", "snow", "moon", "sun", "star", "wave", "fire", "shadow", "child", "farmer", "sailor",
    "teacher", "doctor", "painter", "king", "queen", "singer", "guard", "stranger", "neighbor", "machine", "wheel",
    "engine", "bell", "door", "window", "flag", "letter", "song", "story", "dream", "voice",
];

/// Filler: what they do.
pub const DEEDS: [&str; 32] = [
    "sleeps",
    "waits",
    "sings",
    "turns",
    "fades",
    "shines",
    "moves",
    "rests",
    "falls",
    "rises",
    "stops",
    "runs",
    "walks",
    "grows",
    "changes",
    "breathes",
    "listens",
    "watches",
    "wanders",
    "returns",
    "disappears",
    "appears",
    "stands",
    "leans",
    "drifts",
    "hums",
    "glows",
    "trembles",
    "laughs",
    "whispers",
    "dances",
    "hides",
];

/// Filler: where, as one sees it from a road.
pub const SIGHTS: [&str; 24] = [
    "bridge", "hill", "road", "street", "field", "tower", "wall", "gate", "shore", "corner", "path", "lake", "village",
    "valley", "mountain", "island", "roof", "fence", "well", "mill", "square", "fountain", "meadow", "stream",
];

/// Filler: how or when.
pub const MANNERS: [&str; 20] = [
    "slowly",
    "softly",
    "again",
    "often",
    "today",
    "late",
    "early",
    "nearby",
    "quietly",
    "gently",
    "suddenly",
    "never",
    "always",
    "alone",
    "together",
    "outside",
    "almost",
    "already",
    "forever",
    "sometimes",
];

/// Filler: small words that relate.
pub const RELATIONS: [&str; 8] = ["near", "by", "behind", "under", "over", "beside", "beyond", "around"];

const ONSETS: [&str; 20] =
    ["b", "br", "d", "dr", "f", "g", "gl", "h", "j", "k", "l", "m", "n", "p", "qu", "r", "s", "t", "v", "z"];
const VOWELS: [&str; 8] = ["a", "e", "i", "o", "u", "ai", "ou", "y"];
const CODAS: [&str; 12] = ["", "", "", "n", "l", "r", "x", "sk", "m", "th", "ng", "w"];

/// A word that no list holds, made of syllables, so that pieces of words are trained too.
pub fn invented(rng: &mut impl rand::Rng) -> String {
    use rand::seq::IndexedRandom;
    let mut pick = |from: &[&'static str]| from.choose(rng).copied().unwrap_or_default();
    let first = [pick(&ONSETS), pick(&VOWELS), pick(&CODAS)].concat();
    let second = [pick(&ONSETS), pick(&VOWELS), pick(&CODAS)].concat();
    first + &second
}
