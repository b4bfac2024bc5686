import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionData

extension DataCommand {
    struct Tokenizer: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Trains a SentencePiece tokenizer, or turns text into ids and back.",
            discussion: """
                EXAMPLES
                  tf-data tokenizer train corpus.txt --pieces 4096 --out tokenizer.model
                  tf-data tokenizer encode --model tokenizer.model 'red circle'
                  tf-data tokenizer decode --model tokenizer.model 325 297
                """,
            subcommands: [Train.self, Encode.self, Decode.self])

        struct Train: ParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Trains a BPE model with Llama's settings on the lines of text files.",
                discussion: """
                    Of more than 64 MiB of text a random choice is read, the same each time.
                    A corpus with fewer different pieces than asked for gives a smaller model.

                    EXAMPLE
                      tf-data tokenizer train corpus.txt --pieces 4096 --out tokenizer.model
                    """)

            @Argument(help: "Text files, one sentence or document a line.")
            var files: [String]

            @Option(help: "Pieces, <unk>, <s>, </s> and the 256 bytes included.")
            var pieces = 4096

            @Option(help: "The .model file to write; it must not exist.")
            var out: String

            func run() throws {
                try DatasetWriter.refuseExisting(out)
                var corpus = TokenizerCorpus()
                for file in files { try corpus.addLines(of: file) }
                let training = try TokenizerTraining(on: corpus, from: files.joined(separator: ", "), pieces: pieces)
                let tokenizer = training.tokenizer
                try Files.write(tokenizer.contents, to: out)
                print("\(out): \(training.pieceCount) pieces from \(corpus.textCount) lines, \(tokenizer.digest)")
                for note in training.notes { print("  \(note)") }
            }
        }

        struct Encode: ParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Prints the ids of a text.",
                discussion: """
                    EXAMPLES
                      tf-data tokenizer encode --model tokenizer.model 'red circle'
                      tf-data tokenizer encode --model tokenizer.json --pieces 'red circle'
                      tf-data tokenizer encode --model tokenizer.model --json < texts.txt
                    """)

            @Option(help: "A SentencePiece .model or a tokenizer.json.")
            var model: String

            @Flag(help: "Read special tokens, as <s>, </s>, <boi> and <eoi>, as such.")
            var parseSpecials = false

            @Flag(help: "Print the pieces beside the ids.")
            var pieces = false

            @Flag(help: "Print as JSON.")
            var json = false

            @Argument(help: "The text; without it, the lines of standard input.")
            var text: String?

            func run() throws {
                let tokenizer = try TransfusionData.Tokenizer(path: model)
                if let text {
                    try encode(text, tokenizer)
                } else {
                    while let line = readLine() { try encode(line, tokenizer) }
                }
            }

            private func encode(_ text: String, _ tokenizer: TransfusionData.Tokenizer) throws {
                let ids = try tokenizer.encode(text, parseSpecials: parseSpecials)
                let names = ids.map { tokenizer.piece($0) ?? "" }
                if json {
                    try printJSON(Encoding(ids: ids, pieces: names))
                } else if pieces {
                    print(zip(ids, names).map { "\($0):\($1)" }.joined(separator: " "))
                } else {
                    print(ids.map(String.init).joined(separator: " "))
                }
            }

            private struct Encoding: Encodable {
                let ids: [Int32]
                let pieces: [String]
            }
        }

        struct Decode: ParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Prints the text of ids; special tokens have none.",
                discussion: """
                    EXAMPLE
                      tf-data tokenizer decode --model tokenizer.model 325 297
                    """)

            @Option(help: "A SentencePiece .model or a tokenizer.json.")
            var model: String

            @Argument(help: "The ids; without them, the lines of standard input.")
            var ids: [Int32] = []

            func run() throws {
                let tokenizer = try TransfusionData.Tokenizer(path: model)
                if !ids.isEmpty {
                    print(try tokenizer.decode(ids))
                    return
                }
                while let line = readLine() {
                    let words = line.split(separator: " ")
                    let ids = try words.map { word in
                        guard let id = Int32(word) else {
                            throw DataError("standard input: \"\(word)\" is no token id")
                        }
                        return id
                    }
                    print(try tokenizer.decode(ids))
                }
            }
        }
    }
}
