internal import HTTPTypes
package import NIOCore
package import NIOHTTPTypes

/// Lets a connection in, and closes it when the server has no place for it any more.
///
/// `@unchecked Sendable`: a handler belongs to one channel, and is used on its event loop only.
package final class ConnectionAdmission: ChannelDuplexHandler, RemovableChannelHandler, @unchecked Sendable {
    package typealias InboundIn = HTTPRequestPart
    package typealias InboundOut = HTTPRequestPart
    package typealias OutboundIn = HTTPResponsePart
    package typealias OutboundOut = HTTPResponsePart

    private let connections: Connections
    /// For a stranger to show a token.
    private let patience: TimeAmount
    private var deadline: Scheduled<Void>?
    private var isLast = false

    package init(_ connections: Connections, patience: TimeAmount) {
        self.connections = connections
        self.patience = patience
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    package func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        context.fireChannelInactive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard deadline == nil else { return }
        let channel = context.channel
        connections.opened(channel, from: channel.remoteAddress?.ipAddress ?? "?")
        deadline = context.eventLoop.scheduleTask(in: patience) { [connections] in
            if !connections.isKnown(channel) { channel.close(promise: nil) }
        }
    }

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(var head):
            isLast = head.status.kind != .informational && !connections.mayStay(context.channel)
            if isLast { head.headerFields[.connection] = "close" }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .end where isLast:
            let written = promise ?? context.eventLoop.makePromise()
            let channel = context.channel
            written.futureResult.whenComplete { _ in channel.close(promise: nil) }
            context.write(data, promise: written)
        case .body, .end: context.write(data, promise: promise)
        }
    }
}
