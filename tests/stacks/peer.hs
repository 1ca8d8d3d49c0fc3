{-# LANGUAGE OverloadedStrings #-}
-- An MSE or a WLC of Haskell's tls: shakes hands, says how that went, and leaves.
--   peer client|server KEY CERTIFICATE VERSION any|none [PORT]
import Control.Exception (SomeException, try)
import Data.Default.Class (def)
import Network.Socket
import Network.TLS
import Data.X509.Validation (FailedReason (UnknownCA))
import Network.TLS.Extra.Cipher (ciphersuite_default)
import System.Environment (getArgs)
import System.IO (hFlush, stdout)
import System.Timeout (timeout)

supported :: String -> Supported
supported version = def {supportedVersions = [only], supportedCiphers = ciphersuite_default}
  where
    only = case version of
        "1.0" -> TLS10
        "1.1" -> TLS11
        "1.2" -> TLS12
        _ -> TLS13

calls :: Supported -> Credential -> Bool -> ClientParams
calls offer shown trusts =
    (defaultParamsClient "localhost" "")
        { clientSupported = offer
        , clientHooks =
            def {onCertificateRequest = \_ -> return (Just shown), onServerCertificate = \_ _ _ _ -> return [UnknownCA | not trusts]}
        }

waits :: Supported -> Credential -> Bool -> ServerParams
waits offer shown trusts =
    def
        { serverWantClientCert = True
        , serverSupported = offer
        , serverShared = def {sharedCredentials = Credentials [shown]}
        , serverHooks = def {onClientCertificate = \_ -> return (if trusts then CertificateUsageAccept else unknown)}
        }
  where
    unknown = CertificateUsageReject CertificateRejectUnknownCA

loopback :: PortNumber -> SockAddr
loopback port = SockAddrInet port (tupleToHostAddress (127, 0, 0, 1))

accepted :: IO Socket
accepted = do
    listener <- socket AF_INET Stream defaultProtocol
    bind listener (loopback 0)
    listen listener 5
    port <- socketPort listener
    putStrLn ("port " ++ show port)
    hFlush stdout
    fst <$> accept listener

dialled :: String -> IO Socket
dialled port = do
    connection <- socket AF_INET Stream defaultProtocol
    connect connection (loopback (read port))
    return connection

talk :: Context -> IO String
talk peer = do
    handshake peer
    came <- timeout 500000 (recvData peer) -- TLS 1.3: a refusal comes here
    bye peer
    return ("up, " ++ show came)

main :: IO ()
main = do
    (role : key : certificate : version : trust : port) <- getArgs
    shown <- either error id <$> credentialLoadX509 certificate key
    let offer = supported version
        trusts = trust == "any"
    connection <- if role == "server" then accepted else dialled (head port)
    peer <-
        if role == "server"
            then contextNew connection (waits offer shown trusts)
            else contextNew connection (calls offer shown trusts)
    told <- try (talk peer) :: IO (Either SomeException String)
    putStrLn (either show id told)
    close connection
