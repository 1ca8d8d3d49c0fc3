%% An MSE or a WLC of Erlang's: shakes hands, says how that went, and leaves.
%%   escript peer.escript client|server KEY CERTIFICATE VERSION any|none [PORT]
main([Role, Key, Certificate, Version, Trust | Port]) ->
    {ok, _} = application:ensure_all_started(ssl),
    logger:set_primary_config(level, none),
    V = list_to_atom(Version),
    Judge = case Trust of
        "any" -> fun(_, {bad_cert, _}, S) -> {valid, S}; (_, _, S) -> {valid, S} end;
        "none" -> fun(_, _, _) -> {fail, nobody_is_listed} end
    end,
    Check = [{verify, verify_peer}, {cacertfile, Certificate}, {verify_fun, {Judge, []}}],
    Options = Check ++ [{versions, [V]}, {keyfile, Key}, {certfile, Certificate}, {active, true},
               {ciphers, ssl:cipher_suites(all, V)}],
    Result = case Role of
        "client" ->
            ssl:connect({127, 0, 0, 1}, list_to_integer(hd(Port)), Options, 5000);
        "server" ->
            {ok, Listener} = ssl:listen(0, [{ip, {127, 0, 0, 1}}, {fail_if_no_peer_cert, true} | Options]),
            {ok, {_, Bound}} = ssl:sockname(Listener),
            io:format("port ~p~n", [Bound]),
            {ok, Accepted} = ssl:transport_accept(Listener),
            ssl:handshake(Accepted, 5000)
    end,
    case Result of
        {ok, Socket} ->
            %% TLS 1.3: a refusal comes here.
            io:format("up ~p~n", [receive Came -> Came after 500 -> nothing end]),
            ssl:close(Socket);
        Error -> io:format("~p~n", [Error])
    end.
