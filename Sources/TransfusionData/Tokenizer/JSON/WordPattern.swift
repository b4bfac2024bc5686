/// The regular expressions that cut text into words, each as a scanner written by hand.
///
/// Where two alternatives match, the earlier one counts, and each takes as much as it can, as in the expressions.
enum WordPattern: Equatable {
    case gpt2
    case llama3
    case qwen2
    /// Each digit on its own, and what is between by GPT-2's, as of StarCoder and SmolLM.
    case digitsThenGPT2
    case tekken

    static let names = "GPT-2, Llama 3, Qwen 2 and Tekken"

    private static let expressions: [String: WordPattern] = [
        #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#: .gpt2,
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"#
            + #"|\s+(?!\S)|\s+"#: .llama3,
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"#
            + #"|\s+(?!\S)|\s+"#: .qwen2,
        #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"#
            + #"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"#
            + #"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#: .tekken,
    ]

    /// The pattern of a regular expression; nil for one that has no scanner.
    init?(_ expression: String) {
        guard let pattern = Self.expressions[expression] else { return nil }
        self = pattern
    }
}
