import TransfusionSupport

/// A part of the suite, which is done as a whole and kept.
enum SuitePart: Hashable {
    case pictures, captions, cider, frechet, clipScore, composition
    /// Each of a file.
    case perplexity(String)
    case ranked(String)

    /// For people, and for the file that keeps what it has found.
    var name: String {
        switch self {
        case .pictures: "pictures"
        case .captions: "captions"
        case .cider: "cider"
        case .frechet: "frechet"
        case .clipScore: "clip-score"
        case .composition: "composition"
        case .perplexity(let file): "perplexity-" + Paths.stem(of: file)
        case .ranked(let file): "ranked-" + Paths.stem(of: file)
        }
    }
}
